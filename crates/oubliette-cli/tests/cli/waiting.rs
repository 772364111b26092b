//! `--wait`: a vault that is in use is waited for.

use std::{
    io::{BufRead, BufReader},
    time::{Duration, Instant},
};

use crate::world::{Ran, World};

#[test]
fn a_vault_that_is_in_use_is_waited_for_as_long_as_was_said() {
    let world = World::new();
    world.ok(&["append", "user-1", "T"]);
    let mut holder = world.spawn(&["subscribe", "--json"]);
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("caught_up")));
    world.fails(5, &["read", "user-1"]);

    let begun = Instant::now();
    let told = world.fails(5, &["--wait", "300ms", "append", "user-1", "T"]);
    assert!(begun.elapsed() >= Duration::from_millis(300) && told.contains("in use"), "{told}");

    let waiting = world.spawn(&["--wait", "1min", "append", "user-1", "T"]);
    let moving = world.spawn(&["vault", "move", "--pages", "sqlite", "--wait", "1min"]);
    std::thread::sleep(Duration::from_millis(200));
    holder.kill().unwrap();
    holder.wait().unwrap();
    for waiting in [waiting, moving] {
        let ended: Ran = waiting.wait_with_output().unwrap().into();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    assert_eq!(world.data("user-1").len(), 2);
}

#[test]
fn how_long_to_wait_is_a_span_of_at_most_a_day() {
    let world = World::new();
    for (wrong, why) in [
        ("soon", "no span such as 30s"),
        ("5m", "no span such as 30s"),
        ("25h", "at most a day"),
        ("1d", "seconds, minutes or hours"),
        ("-1s", "seconds, minutes or hours"),
    ] {
        let told = world.fails(2, &[&format!("--wait={wrong}"), "read", "user-1"]);
        assert!(told.contains(why), "{wrong}: {told}");
    }
}
