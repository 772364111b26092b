//! Real sled and a real slot file.

use std::fs;

use super::{all, set, unset};
use crate::vault::{VaultError, tree::Tree};

#[test]
fn a_vault_on_disk_is_reopened() {
    let place = tempfile::tempdir().unwrap();
    let (folder, root) = (place.path().join("vault"), place.path().join("state/root"));
    let tree = Tree::create_at(&folder, &root).unwrap();
    let (id, identity) = (tree.vault_id(), tree.identity().clone());
    let many = |fill: u8| (0..3000u32).map(|i| set(i.to_be_bytes(), [fill; 60])).collect();
    tree.put(many(1)).unwrap();
    tree.erase(vec![unset(7u32.to_be_bytes())]).unwrap();
    drop(tree);
    let tree = Tree::open_at(&folder, &root).unwrap();
    assert_eq!(tree.vault_id(), id);
    assert!(*tree.identity() == identity);
    assert_eq!(all(&tree).len(), 2999);
    assert!(tree.get(&7u32.to_be_bytes()).unwrap().is_none());
    assert_eq!(fs::metadata(&root).unwrap().len(), 8192);
}

#[test]
fn a_second_holder_is_told_who_the_first_is() {
    let place = tempfile::tempdir().unwrap();
    let (folder, root) = (place.path().join("vault"), place.path().join("root"));
    let tree = Tree::create_at(&folder, &root).unwrap();
    let second = Tree::open_at(&folder, &root);
    assert!(matches!(second, Err(VaultError::InUse(id)) if id == std::process::id()));
    drop(tree);
    Tree::open_at(&folder, &root).unwrap();
}
