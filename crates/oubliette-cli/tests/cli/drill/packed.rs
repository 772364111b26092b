//! Roots, keys and values in whatever they may be packed in.

use std::fmt::Write as _;

use ::base64::{Engine, engine::general_purpose};

use super::*;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

pub(crate) fn hexed(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in members {
        let mut head = [0; 512];
        head[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
        head[100..108].copy_from_slice(b"0000600\0");
        head[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        head[156] = b'0';
        head[257..265].copy_from_slice(b"ustar\x0000");
        archive.extend(head);
        archive.extend(*content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// Every second member is packed. There is no directory at its end: nobody asks for it.
pub(crate) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (index, (name, content)) in members.iter().enumerate() {
        let packed = index % 2 == 0;
        let mut bytes = content.to_vec();
        if packed {
            let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
            deflate.write_all(content).unwrap();
            bytes = deflate.finish().unwrap();
        }
        archive.extend(b"PK\x03\x04\x14\0\0\0");
        archive.extend([if packed { 8 } else { 0 }, 0]);
        archive.extend([0; 8]);
        archive.extend((bytes.len() as u32).to_le_bytes());
        archive.extend((content.len() as u32).to_le_bytes());
        archive.extend((name.len() as u16).to_le_bytes());
        archive.extend([0; 2]);
        archive.extend(name.as_bytes());
        archive.extend(bytes);
    }
    archive
}

fn in_lines(text: &str, end: &str) -> String {
    let lines: Vec<_> = text.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
    lines.join(end)
}

#[tokio::test]
async fn an_old_slot_is_found_however_it_is_packed_and_written() {
    let world = World::new().await;
    let slot = fs::read(world.at("slot")).unwrap();
    // Both sectors, wherever they are.
    let beginnings = slot.windows(16).filter(|w| *w == b"OUBLIETTE ROOT\r\n").count();
    assert_eq!(beginnings, 2);
    world.forget("user-1").await;
    let url = general_purpose::URL_SAFE_NO_PAD.encode(&slot);
    let noise: Vec<u8> = (0..5_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    for (name, bytes) in [
        ("plain", slot.clone()),
        ("base64", base64(&slot).into_bytes()),
        ("base64 in lines", in_lines(&base64(&slot), "\r\n").into_bytes()),
        ("base64 in JSON", format!(r#"{{"backup":"x\n{url}"}}"#).into_bytes()),
        ("base64 after a path", format!("GET /a/b/{url} 200").into_bytes()),
        ("hex", format!("'\\x{}'", hexed(&slot)).into_bytes()),
        ("hex in lines", in_lines(&hexed(&slot).to_uppercase(), "\n").into_bytes()),
        ("gzip", gzip(&slot)),
        ("gzip in gzip", gzip(&gzip(&slot))),
        ("gzip in the middle", [&noise[..777], &gzip(&slot), &noise[..]].concat()),
        ("two gzips", [gzip(&noise), gzip(&slot)].concat()),
        ("tar", tar(&[("a", &noise), ("root", &slot)])),
        ("gzip in tar.gz", gzip(&tar(&[("a", &noise), ("root.gz", &gzip(&slot))]))),
        ("zip", zip(&[("root", &slot)])),
        ("stored zip in zip", zip(&[("a.zip", &zip(&[("n", &noise), ("root", &slot)]))])),
        ("gzip in zip", zip(&[("a", &noise), ("root.gz", &gzip(&slot))])),
        ("base64 in gzip in base64", base64(&gzip(base64(&slot).as_bytes())).into_bytes()),
        ("hex in base64", base64(hexed(&slot).as_bytes()).into_bytes()),
    ] {
        world.write("archive", bytes);
        let (report, found) = world.drill().await;
        let roots = found.iter().filter(|finding| finding.kind == Leak::EarlierRoot).count();
        // More, where what is packed could be packed no further, and so lies there as it is.
        assert!(roots >= beginnings, "{name}: {found:?}");
        assert!(!report.is_clean());
    }
}

#[tokio::test]
async fn a_decrypted_backup_gives_its_keys_and_an_encrypted_one_is_known_by_its_name() {
    let world = World::new().await;
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let vault = world.bank.vault().unwrap().clone();
    let file = world.at("paths/monday.backup");
    let mut recipients = oubliette::vault::backup::Recipients::default();
    recipients.add(&recipient).unwrap();
    let now = oubliette::event::Timestamp::now().as_micros();
    let expires = oubliette::event::Timestamp::from_micros(now + 86_400_000_000);
    vault.back_up(&file, &recipients, expires, |_| {}).await.unwrap();
    let (report, found) = world.drill().await;
    assert_eq!((kinds(&found), report.is_clean()), (vec![Leak::Encrypted], false), "{found:?}");
    assert!(found[0].what.contains("nothing was destroyed since"), "{}", found[0].what);

    let sealed = fs::read(&file).unwrap();
    let clear = age::decrypt(&identity, &sealed).unwrap();
    world.write("dump.sql", dump(&world.bank).await);
    world.forget("user-1").await;
    assert_eq!(kinds(&world.drill().await.1), [Leak::SealedBackup]);
    world.write("sub/renamed", sealed);
    fs::remove_file(&file).unwrap();
    assert_eq!(kinds(&world.drill().await.1), [Leak::Encrypted]);

    fs::remove_file(world.at("paths/sub/renamed")).unwrap();
    for bytes in [clear.clone(), gzip(&clear)] {
        world.write("monday.clear", bytes);
        let (_, found) = world.drill().await;
        let count = |kind| found.iter().filter(|finding| finding.kind == kind).count();
        let told = (count(Leak::ClearBackup), count(Leak::DestroyedKey), count(Leak::TokenOpens));
        assert_eq!(told, (1, 2, 2), "{found:?}");
    }
}

#[tokio::test]
async fn copies_and_databases_in_archives_are_looked_into_or_told() {
    let world = World::new().await;
    world.bank.vault().unwrap().flush().await.unwrap();
    let pages = fs::read(world.at("data/vault/pages/db")).unwrap();
    world.write("old.tar", tar(&[("vault/pages/db", &pages)]));
    assert_eq!(kinds(&world.drill().await.1), [Leak::NotLookedInto]);
    // Of a vault whose pages are in SQLite, also alone under another name.
    let db = rusqlite::Connection::open(world.at("pages.db")).unwrap();
    db.execute_batch("PRAGMA application_id = 0x4F756250; CREATE TABLE pages (name, content)")
        .unwrap();
    drop(db);
    let pages = fs::read(world.at("pages.db")).unwrap();
    for bytes in [tar(&[("pages.db", &pages)]), gzip(&pages), pages] {
        world.write("old.tar", bytes);
        assert_eq!(kinds(&world.drill().await.1), [Leak::NotLookedInto]);
    }
    fs::remove_file(world.at("paths/old.tar")).unwrap();

    let path = world.at("long.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA page_size = 512; CREATE TABLE t (b TEXT)").unwrap();
    let text: String = (0..400).map(|i| format!("{i:07} Otto \"\u{d6}ko\" Normal, ")).collect();
    db.execute("INSERT INTO t VALUES (?1)", [&text]).unwrap();
    drop(db);
    let bytes = fs::read(&path).unwrap();
    world.write("a.tar", tar(&[("long.db", &bytes)]));
    world.write("b.tar.gz", gzip(&tar(&[("long.db", &bytes)])));
    let (_, found) = world.drill().await;
    let long: Vec<_> = found.iter().filter(|f| inside(f).ends_with("a long value")).collect();
    assert!(long.iter().any(|finding| place(finding).0.ends_with("b.tar.gz")), "{found:?}");
    assert!(found.iter().all(|finding| finding.kind == Leak::ClearText));
    for finding in long {
        assert!(finding.what.ends_with("400 times"), "{}", finding.what);
    }
}

#[tokio::test]
async fn a_long_value_in_a_log_that_is_not_written_back_is_found() {
    let world = World::new().await;
    for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
        let path = world.at("live.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(&format!(
            "PRAGMA page_size = 512; PRAGMA encoding = '{encoding}'; PRAGMA journal_mode = WAL;
             PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (b TEXT)"
        ))
        .unwrap();
        let text: String = (0..200).map(|i| format!("{i:03} Otto \"\u{d6}ko\" Normal, ")).collect();
        db.execute("INSERT INTO t VALUES (?1)", [&text]).unwrap();
        for beside in ["live.db", "live.db-wal"] {
            fs::copy(world.at(beside), world.at("paths").join(beside)).unwrap();
        }
        drop(db);
        let (_, found) = world.drill().await;
        assert!(found.iter().any(|finding| inside(finding) == "a long value"), "{found:?}");
        fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn what_is_packed_or_encrypted_otherwise_is_told_and_never_clean() {
    let world = World::new().await;
    let mut secret = zip(&[("a", b"something")]);
    secret[6] = 1;
    let mut odd = zip(&[("a", b"something")]);
    odd[8] = 93;
    let cut = gzip(&(0..9000_u32).flat_map(|i| (i * i).to_be_bytes()).collect::<Vec<u8>>());
    for bytes in [
        secret,
        odd,
        cut[..cut.len() / 2].to_vec(),
        b"\x28\xb5\x2f\xfd....".to_vec(),
        tar(&[("a", b"text"), ("b", b"\xfd7zXZ\0....")]),
        gzip(&tar(&[("a", b"text"), ("b", b"BZh91AY&SY")])),
        b"Salted__12345678".to_vec(),
        zip(&[("a.7z", b"7z\xbc\xaf\x27\x1c")]),
    ] {
        world.write("archive", &bytes);
        let (report, found) = world.drill().await;
        assert_eq!(kinds(&found), [Leak::NotLookedInto], "{:?}", &bytes[..8]);
        assert!(!report.is_clean());
    }
}
