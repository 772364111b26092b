//! `vault`: where its pages are, and moving them.

use crate::world::World;

#[test]
fn the_pages_move_to_sqlite_and_everything_reads_as_before() {
    let world = World::new();
    world.ok(&["append", "s-1", "T", "--data", "\"kept\""]);
    world.ok(&["append", "s-2", "T", "--data", "\"gone\""]);
    world.ok(&["forget", "s-2", "--reason", "asked", "--yes"]);
    assert!(world.ok(&["vault"]).contains("sled"));
    let told = world.ok(&["vault", "move", "--pages", "sqlite"]);
    assert!(told.contains("from sled to sqlite"), "{told}");
    assert!(world.ok(&["vault", "move", "--pages", "sqlite"]).contains("already"));
    assert!(world.ok(&["--json", "vault"]).contains(r#"{"pages":"sqlite"}"#));
    assert_eq!(world.data("s-1"), ["kept"]);
    world.ok(&["append", "s-3", "T", "--data", "\"new\""]);
    world.ok(&["verify"]);
    world.ok(&["vault", "move", "--pages", "sled"]);
    assert_eq!(world.data("s-3"), ["new"]);
    assert!(
        world.fails(2, &["vault", "move", "--pages", "redb"]).contains("not sled and not sqlite")
    );
}
