//! Values, however they are spelled; and words that are no values.

use super::*;

#[tokio::test]
async fn a_name_is_found_in_every_spelling() {
    let world = World::new().await;
    let name = "J\u{fc}rgen O'\"Ma\u{df}/x";
    let wide = |order: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("\u{feff}name: {name}\n").encode_utf16().flat_map(order).collect()
    };
    let spellings: Vec<Vec<u8>> = vec![
        "J\u{dc}RGEN O'\"MASS/X".into(),
        "Ju\u{308}rgen O'\"Ma\u{df}/x".into(),
        "J\u{fc}rgen\u{a0}O'\"Ma\u{df}/x".into(),
        b"J\xfcrgen O'\"Ma\xdf/x".to_vec(),
        br#"{"n":"J\u00fcrgen O'\"Ma\u00df\/x"}"#.to_vec(),
        br#"{"n":"{\"n\":\"J\\u00fcrgen O'\\\"Ma\\u00df\\/x\"}"}"#.to_vec(),
        "INSERT INTO t VALUES ('J\u{fc}rgen O''\"Ma\u{df}/x')".into(),
        "a,\"J\u{fc}rgen O'\"\"Ma\u{df}/x\"".into(),
        b"q=J%C3%BCrgen+O%27%22Ma%C3%9F%2Fx".to_vec(),
        b"J=C3=BCrgen O'=22Ma=C3=9F/x".to_vec(),
        b"J&uuml;rgen O&#39;&quot;Ma&#xdf;/x".to_vec(),
        packed::base64(name.as_bytes()).into_bytes(),
        packed::hexed(name.as_bytes()).into_bytes(),
        wide(u16::to_le_bytes),
        wide(u16::to_be_bytes),
    ];
    for spelling in spellings {
        world.write("app.log", [b"x ", &spelling[..], b" y"].concat());
        world.write("bare.log", &spelling);
        let (_, found) = world.drill_at(vec![world.at("paths/bare.log")], &[name]).await;
        let text = String::from_utf8_lossy(&spelling).into_owned();
        assert_eq!(kinds(&found), [Leak::ClearText], "{text} {found:?}");
        assert!(found[0].what.ends_with("once"), "{text} {}", found[0].what);
        if !text.contains('\0') {
            let (_, found) = world.drill_at(vec![world.at("paths/app.log")], &[name]).await;
            assert_eq!(kinds(&found), [Leak::ClearText], "{text} {found:?}");
        }
    }
}

#[tokio::test]
async fn common_words_are_not_searched_for_and_counted() {
    let world = World::new().await;
    let data = r#"{"id":9,"tree":"default","state":"Pending","town":"Entenhausen","no":12}"#;
    put(&world.bank, "user-9", event("UserRegistered", data)).await.unwrap();
    world.bank.vault().unwrap().flush().await.unwrap();
    // sled's own files have `default` in them.
    copy(&world.at("data"), &world.at("paths/old"));
    world.write("app.log", "pending: Entenhausen, the default");
    let (report, found) = world.drill().await;
    assert_eq!(kinds(&found), [Leak::ClearText, Leak::VaultCopy], "{found:?}");
    assert_eq!(report.ignored_values, 2);
    assert!(report.short_values > 0);
    let options = DrillOptions {
        paths: vec![world.at("paths/app.log")],
        ignore: vec!["ENTENHAUSEN".to_owned()],
        ..DrillOptions::default()
    };
    let report = world.bank.drill(options, |_| {}).await.unwrap();
    assert!(report.is_clean());
    assert_eq!(report.ignored_values, 3);
    // What the caller names is searched for, whatever it is.
    let (_, found) = world.drill_at(vec![world.at("paths/app.log")], &["pending"]).await;
    assert!(kinds(&found).contains(&Leak::ClearText));
}

#[tokio::test]
async fn a_name_is_found_in_the_names_of_files_and_folders() {
    let world = World::new().await;
    let name = "Ringelnatz";
    fs::create_dir_all(world.at("paths/of-ringelnatz/below")).unwrap();
    world.write("of-ringelnatz/below/brief-RINGELNATZ.txt", b"nothing");
    let (report, found) = world.drill_at(vec![world.at("paths")], &[name]).await;
    assert_eq!(kinds(&found), [Leak::ClearText; 2], "{found:?}");
    assert!(found.iter().all(|found| found.what.ends_with(", in its name")), "{found:?}");
    assert!(!report.is_clean());
}
