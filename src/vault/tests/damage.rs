//! Sled's own files, flipped and cut off: what a vault says then. Pages that are damaged one by one
//! are the affair of the tree's tests: there everything beside them opens. Sled does not contain
//! damage to its log so well: it gives up what was written after it, or all.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use super::{forensic::archive::files_of, *};

/// Opens a damaged vault and asks for all keys: each must be the right one, or an error.
fn judge(folder: &Path, root: &Path, keys: &HashMap<KeyId, [u8; 32]>) -> &'static str {
    // It is a copy.
    let vault = match Vault::open_as(folder, root, OpenAs::TheOne) {
        Ok(vault) => vault,
        Err(OpenVaultError::Vault(VaultError::Damaged(_))) => return "damaged",
        Err(OpenVaultError::RolledBack { .. }) => return "like an older copy",
        // Its settings, which it compares with its own.
        Err(OpenVaultError::Vault(VaultError::Storage(_))) => return "not sled's",
        Err(error) => panic!("{error}"),
    };
    let mut what = "whole";
    for (id, secret) in keys {
        match vault.opening_key(*id) {
            Ok(KeyLookup::Live { key, .. }) => assert_eq!(key.secret(), secret, "another key"),
            Ok(other) => panic!("nobody forgot it: {other:?}"),
            Err(VaultError::Damaged(_) | VaultError::KeyMissing(_)) => what = "in part",
            Err(error) => panic!("{error}"),
        }
    }
    what
}

fn copy(folder: &Path, to: &Path) {
    for path in files_of(folder) {
        let to = to.join(path.strip_prefix(folder).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&path, to).unwrap();
    }
}

/// Flips a bit of a file, not in the empty part of a segment, or cuts the file off.
fn damage(file: &Path, chance: &mut Chance) {
    let mut bytes = fs::read(file).unwrap();
    if chance.below(4) == 0 {
        bytes.truncate(chance.below(bytes.len() as u64) as usize);
    } else {
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        bytes[used[chance.below(used.len() as u64) as usize]] ^= 1 << chance.below(8);
    }
    fs::write(file, &bytes).unwrap();
}

/// `OUBLIETTE_DAMAGE_ROUNDS` asks for more than the default.
#[test]
fn damage_to_the_files_is_an_error_and_never_a_panic_or_another_key() {
    let temp = tempfile::tempdir().unwrap();
    let (folder, root) = (temp.path().join("vault"), temp.path().join("root"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut keys = HashMap::new();
    drop(Vault::create(&folder, &root).unwrap());
    for round in 0..3 {
        let vault = Vault::open(&folder, &root).unwrap();
        runtime.block_on(async {
            let names: Vec<String> = (0..300).map(|n| format!("user-{round}-{n}")).collect();
            let made = names.iter().map(|name| key(&vault, name, name));
            for made in futures::future::join_all(made).await {
                let made = made.unwrap();
                keys.insert(made.id(), *made.secret());
            }
            forget(&vault, &names[7]).await;
        });
        keys.retain(|id, _| matches!(vault.opening_key(*id), Ok(KeyLookup::Live { .. })));
    }
    let mut chance = Chance(3);
    let mut said: BTreeMap<&str, u32> = BTreeMap::new();
    for round in 0..long_runs("OUBLIETTE_DAMAGE_ROUNDS", 12) {
        let work = tempfile::tempdir().unwrap();
        let (damaged, its_root) = (work.path().join("vault"), work.path().join("root"));
        copy(&folder, &damaged);
        fs::copy(&root, &its_root).unwrap();
        let files = files_of(&damaged.join("pages"));
        // Most of it is one file.
        let largest = files.iter().max_by_key(|file| fs::metadata(file).unwrap().len());
        let any = &files[chance.below(files.len() as u64) as usize];
        damage(if round % 4 == 0 { any } else { largest.unwrap() }, &mut chance);
        *said.entry(judge(&damaged, &its_root, &keys)).or_default() += 1;
    }
    println!("{said:?}");
    assert!(said.len() > 1, "no damage was done");
}
