//! What the process does so that its memory, in which keys are, and its files stay its own.

/// Switches core dumps off: by their size, and on Linux by making the process one that is not
/// dumped, which counts also where dumps are piped to a collector. Such a process can be traced,
/// and its memory read through `/proc`, by the superuser alone. There is no way to switch it on
/// again: to debug, run the library in a program of your own.
///
/// # Errors
/// What the system said. The command goes on; its user must judge.
pub(super) fn keep_memory_private() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}

/// Makes whatever this process makes its owner's alone, also the files of the databases, whose
/// modes are not ours to choose.
pub(super) fn keep_files_private() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn a_process_with_keys_is_not_dumped() {
        super::keep_memory_private().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    }
}
