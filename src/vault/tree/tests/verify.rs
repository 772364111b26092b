//! The walk that judges: it tells of everything that is wrong with the pages, and of nothing else.

use super::{
    super::{Flaw, Place, Seen, Tree, Walked, marker::RETIRE, retire::RetireList},
    all,
    disk::{Crash, Disk},
    set, tiny, unset,
};
use crate::vault::VaultError;

/// A value with its place.
type Item = (Place, Vec<u8>);

/// All values and flaws that a walk comes upon.
fn walk(tree: &Tree, repair: bool) -> (Walked, Vec<Item>, Vec<Flaw>) {
    let (mut values, mut flaws) = (Vec::new(), Vec::new());
    let walked = tree.verify(repair, &mut |seen| match seen {
        Seen::Value(place, value) => values.push((place.to_vec(), value.to_vec())),
        Seen::Flaw(flaw) => flaws.push(flaw),
    });
    (walked.unwrap(), values, flaws)
}

/// A walk finds nothing wrong, and every value.
pub(super) fn assert_whole(tree: &Tree) {
    let (walked, values, flaws) = walk(tree, false);
    assert_eq!((flaws.len(), walked.damaged, walked.orphans), (0, 0, Some(0)));
    assert_eq!(values, all(tree));
}

fn filled() -> (Disk, Tree) {
    let disk = Disk::default();
    let tree = disk.create(tiny()).unwrap();
    tree.put((0..120u8).map(|i| set([i], format!("value {i}"))).collect()).unwrap();
    (disk, tree)
}

#[test]
fn each_damaged_page_is_told_with_what_lies_beneath_and_all_else_is_seen() {
    let (disk, tree) = filled();
    let everything = all(&tree);
    let image = disk.image();
    let mut contained = 0;
    for (name, content) in image.iter().filter(|(name, _)| name.len() == 16) {
        for (spoil, removed) in [(true, false), (false, true)] {
            let mut spoiled = image.clone();
            if spoil {
                let mut content = content.clone();
                let last = content.len() - 1;
                content[last] ^= 1;
                spoiled.insert(name.clone(), content);
            }
            if removed {
                spoiled.remove(name);
            }
            disk.set_image(spoiled);
            let (walked, values, flaws) = walk(&tree, true);
            let [Flaw::Page { page, from, to, .. }] = flaws.as_slice() else {
                panic!("one page is damaged, {} flaws are told", flaws.len());
            };
            assert_eq!(*page, name.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            assert_eq!((walked.damaged, walked.orphans), (1, None));
            let beneath = |place: &Place| place >= from && to.as_ref().is_none_or(|to| place < to);
            let (lost, kept): (Vec<_>, Vec<_>) =
                everything.iter().cloned().partition(|(place, _)| beneath(place));
            assert_eq!(values, kept);
            assert!(!lost.is_empty());
            contained += u32::from(!kept.is_empty());
            // Beside damage, nothing is taken for an orphan, nor removed.
            assert_eq!(disk.image().len(), image.len() - usize::from(removed));
        }
    }
    assert!(contained > 20, "{contained}");
}

#[test]
fn a_page_that_nothing_leads_to_is_told_and_removed_when_asked() {
    let (disk, tree) = filled();
    let old = disk.image();
    tree.erase(vec![unset([7])]).unwrap();
    let today = disk.image();
    // Somebody put old pages back beside the new ones.
    let mut both = old;
    both.extend(today.clone());
    let strange = both.len() - today.len();
    assert!(strange >= 3);
    both.insert(b"a name of no page".to_vec(), vec![1]);
    disk.set_image(both.clone());
    let (walked, _, flaws) = walk(&tree, false);
    assert_eq!(walked.orphans, Some(strange as u64 + 1));
    assert!(flaws.iter().all(|flaw| matches!(flaw, Flaw::Orphan { removed: false, .. })));
    assert_eq!(disk.image(), both);

    let (_, _, flaws) = walk(&tree, true);
    assert!(flaws.iter().all(|flaw| matches!(flaw, Flaw::Orphan { removed: true, .. })));
    assert_eq!(disk.image(), today);
    assert_whole(&tree);
}

#[test]
fn what_the_retire_list_names_is_no_orphan() {
    // An erasure that is cut off at any step leaves pages, and the list that names them.
    for step in 1.. {
        let (disk, tree) = filled();
        disk.crash_after(step, 3);
        let outcome = tree.erase(vec![unset([7])]);
        drop(tree);
        if outcome.is_ok() && !disk.crashed() {
            break;
        }
        disk.restart(Crash::Process);
        let listed = disk.image().contains_key(RETIRE);
        let tree = disk.open(tiny()).unwrap();
        assert_whole(&tree);
        assert!(!listed || !disk.image().contains_key(RETIRE));
    }
}

#[test]
fn pages_that_the_retire_list_names_are_on_their_way_out() {
    let (disk, tree) = filled();
    let mut image = disk.image();
    let list = RetireList { epoch: 1, added: vec![[1; 16]], replaced: vec![[2; 16]] };
    image.insert(RETIRE.to_vec(), list.seal(tree.vault_id(), tree.identity()).unwrap());
    for page in [1, 2, 3] {
        image.insert(vec![page; 16], vec![0; 60]);
    }
    disk.set_image(image);
    let (walked, _, flaws) = walk(&tree, false);
    assert_eq!(walked.orphans, Some(1));
    assert!(matches!(flaws.as_slice(), [Flaw::Orphan { page, .. }] if page.starts_with("0303")));
}

#[test]
fn a_retire_list_that_does_not_open_is_told() {
    let (disk, tree) = filled();
    let mut image = disk.image();
    image.insert(RETIRE.to_vec(), vec![1; 60]);
    disk.set_image(image);
    let (_, _, flaws) = walk(&tree, false);
    assert!(matches!(flaws.as_slice(), [Flaw::RetireList]));
}

#[test]
fn a_slot_that_was_overwritten_beneath_the_open_vault_is_told() {
    let (disk, tree) = filled();
    let sectors = disk.sectors();
    tree.erase(vec![unset([7])]).unwrap();
    disk.set_sectors(sectors);
    let (_, _, flaws) = walk(&tree, false);
    assert!(matches!(flaws.as_slice(), [Flaw::Slot(_)]));
    disk.set_sectors([vec![], vec![]]);
    let (_, _, flaws) = walk(&tree, false);
    assert!(matches!(flaws.as_slice(), [Flaw::Slot(_)]));
}

#[test]
fn nothing_is_removed_where_the_slot_holds_another_root() {
    let (disk, tree) = filled();
    let (sectors, earlier) = (disk.sectors(), disk.image());
    tree.erase(vec![unset([7])]).unwrap();
    let whole = |disk: &Disk| disk.image().into_iter().chain(earlier.clone()).collect();
    // As after a folder and its slot were put back while the vault was open: the pages are that root's.
    disk.set_image(whole(&disk));
    disk.set_sectors(sectors);
    let (before, (_, _, flaws)) = (disk.image(), walk(&tree, true));
    let left = flaws.iter().all(|flaw| !matches!(flaw, Flaw::Orphan { removed: true, .. }));
    assert!(left && flaws.len() > 1);
    assert_eq!(disk.image(), before);
}

#[test]
fn an_older_version_of_a_page_opens_and_is_no_flaw_by_itself() {
    // What cannot be told is not claimed: the records above notice what it lacks.
    let (disk, tree) = filled();
    let before = disk.image();
    tree.put(vec![set([7], b"newer")]).unwrap();
    let mut image = disk.image();
    let changed = image.iter().find(|(name, new)| before.get(*name).is_some_and(|old| old != *new));
    let name = changed.unwrap().0.clone();
    image.insert(name.clone(), before[&name].clone());
    disk.set_image(image);
    let (walked, values, flaws) = walk(&tree, false);
    assert_eq!((flaws.len(), walked.damaged), (0, 0));
    assert!(values.contains(&(vec![7], b"value 7".to_vec())));
}

#[test]
fn a_poisoned_tree_is_not_judged() {
    let (disk, tree) = filled();
    disk.crash_after(1, 0);
    assert!(tree.put(vec![set([7], b"newer")]).is_err());
    assert!(matches!(tree.verify(false, &mut |_| {}), Err(VaultError::Poisoned)));
}
