//! What must hold of backups.
