//! What is fuzzed of backups.

use std::sync::LazyLock;

use age::x25519::Identity;

use super::{
    Identities, VerifiedBackup,
    format::{Header, Item, Reader, WASH_BYTES, Writer},
};

/// One key pair for all: to make it is the slowest of all this.
static IDENTITY: LazyLock<Identity> = LazyLock::new(Identity::generate);

/// What is read as a backup is written as the same bytes. Sealed to us as a file, what somebody else wrote in that form
/// is refused or read through, and every value of a file that is taken is read a second time.
pub fn backup(data: &[u8]) {
    // Its end is always the same, and long.
    let plain = [data, &[0; WASH_BYTES]].concat();
    // To seal and open a file takes most of the time.
    let Some(written) = again(&plain) else { return };
    assert!(written == plain, "it is written otherwise than it was read");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.age");
    std::fs::write(&path, age::encrypt(&IDENTITY.to_public(), &plain).unwrap()).unwrap();
    let Ok(read) = VerifiedBackup::read(&path, Identities(vec![IDENTITY.clone()])) else { return };
    let values = read.values().unwrap_or_else(|error| panic!("{error}"));
    let places: Vec<_> =
        values.map(|value| value.unwrap_or_else(|error| panic!("{error}")).0).collect();
    assert!(places.is_sorted_by(|before, after| before < after), "its values are not in order");
}

fn again(plain: &[u8]) -> Option<Vec<u8>> {
    let (mut reader, header) = Reader::begin(plain).ok()?;
    let mut items = Vec::new();
    while let Some(item) = reader.next().ok()? {
        items.push(item);
    }
    Some(written(&header, &items))
}

fn written(header: &Header, items: &[Item]) -> Vec<u8> {
    let mut writer = Writer::begin(Vec::new(), header).unwrap();
    let walked = items.iter().take_while(|item| matches!(item, Item::Walked(..))).count();
    let (walked, changed) = items.split_at(walked);
    for item in walked {
        let Item::Walked(place, value) = item else { panic!("it is of the walk") };
        writer.walked(place, value).unwrap();
    }
    writer.end_of_walk().unwrap();
    for item in changed {
        let Item::Changed(delta) = item else { panic!("the walk goes on behind its end") };
        writer.change(delta).unwrap();
    }
    writer.end().unwrap()
}
