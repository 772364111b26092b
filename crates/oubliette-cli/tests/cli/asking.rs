//! Passphrases that are asked for on a terminal.

use std::{
    io::{ErrorKind, Read, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{skip::skipped, world::World};

const HIDDEN_AFTER: Duration = Duration::from_millis(300);

/// A program on a terminal that `script` makes.
struct Terminal {
    script: Child,
    seen: String,
}

impl Terminal {
    /// Runs the program, and then says how it ended and what the terminal is like. `None`: there is no `script` here.
    fn run(world: &World, args: &str) -> Option<Self> {
        let program = world.command(&[]);
        let path = program.get_program().display();
        // Ctrl-C may come to this shell as well.
        let line = format!(
            "trap : INT; sh -c 'echo $$ > pid; exec {path} {args}'; echo ended=$?; stty -a"
        );
        let mut script = Command::new("script");
        script.current_dir(world.dir.path()).args(["-qec", &line, "/dev/null"]);
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        script.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped());
        match script.spawn() {
            Ok(script) => Some(Self { script, seen: String::new() }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                skipped("OUBLIETTE_REQUIRE_SCRIPT", &format!("no terminal can be made: {error}"));
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn until(&mut self, text: &str) -> &mut Self {
        let mut byte = [0];
        while !self.seen.contains(text) {
            let read = self.script.stdout.as_mut().unwrap().read(&mut byte).unwrap();
            assert_eq!(read, 1, "no {text:?} in {:?}", self.seen);
            self.seen.push(char::from(byte[0]));
        }
        self
    }

    fn types(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.script.stdin.as_mut().unwrap().write_all(text.as_ref()).unwrap();
        self
    }

    fn signals(&mut self, world: &World, signal: Signal) -> &mut Self {
        let pid = std::fs::read_to_string(world.path("pid")).unwrap();
        kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), signal).unwrap();
        self
    }

    /// The program ended so, and the terminal shows what is typed.
    fn ends(mut self, how: &str) {
        self.until(&format!("ended={how}")).until("isig");
        self.script.stdin.take();
        self.script.stdout.take().unwrap().read_to_string(&mut self.seen).unwrap();
        self.script.wait().unwrap();
        let state = self.seen.split("ended=").nth(1).unwrap();
        for word in ["echo", "icanon", "isig"] {
            let words = || state.split_whitespace();
            assert!(words().any(|is| is == word), "{word} is off: {state}");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What is left on it gets its HUP.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

fn world() -> World {
    let world = World::new();
    let mut append = world.command(&["--kek", "passphrase", "append", "user-1", "T"]);
    let appended = append.env("OUBLIETTE_PASSPHRASE", "cuckoo").output().unwrap();
    assert!(appended.status.success());
    world
}

/// It was left without echo.
#[test]
fn a_signal_at_the_prompt_of_a_passphrase_leaves_the_terminal_as_it_was() {
    let world = world();
    let at = |args: &str, prompt: &str| {
        let mut terminal = Terminal::run(&world, args)?;
        terminal.until(prompt);
        // The prompt is there before what is typed is hidden.
        std::thread::sleep(HIDDEN_AFTER);
        Some(terminal)
    };
    let (asks, asks_new) = ("Passphrase of the root slot: ", "New passphrase of the root slot: ");
    let Some(mut asked) = at("read user-1", asks) else { return };
    asked.types("cuc\u{3}");
    asked.ends("130");
    for (signal, code) in [(Signal::TERM, "143"), (Signal::HUP, "129"), (Signal::INT, "130")] {
        let mut asked = at("read user-1", asks).unwrap();
        asked.types("cuc").signals(&world, signal);
        asked.ends(code);
    }
    let mut copying = at("--read-only read user-1", asks).unwrap();
    copying.types("cuc").signals(&world, Signal::TERM);
    copying.ends("143");
    let mut new = at("--dir new --kek passphrase append user-1 T", asks_new).unwrap();
    new.types("cuckoo\n").until("The same again: ").signals(&world, Signal::TERM);
    new.ends("143");
    world.ok(&["--dir", "plain", "append", "user-1", "T"]);
    let mut change = at("--dir plain root kek passphrase", asks_new).unwrap();
    change.types("cuc").signals(&world, Signal::TERM);
    change.ends("143");
    world.ok(&["--dir", "plain", "read", "user-1"]);
}

/// All bytes that are not UTF-8 were one character, and passphrases of them one passphrase.
#[test]
fn a_passphrase_that_is_not_text_is_refused_before_anything_is_made() {
    let world = world();
    let Some(mut new) = Terminal::run(&world, "--dir new --kek passphrase append user-1 T") else {
        return;
    };
    new.until("New passphrase of the root slot: ").types(b"cuck\xf8\xf9\n");
    new.until("what was typed is not UTF-8 text").until("OUBLIETTE_PASSPHRASE");
    new.ends("2");
    assert!(!world.path("new").exists());
    let mut asked = Terminal::run(&world, "read user-1").unwrap();
    asked.until("Passphrase of the root slot: ").types(b"cuck\xf8\n");
    asked.until("what was typed is not UTF-8 text");
    asked.ends("2");
}

#[test]
fn an_input_that_ends_at_the_prompt_of_a_passphrase_is_told_with_what_to_do() {
    let world = world();
    let Some(mut asked) = Terminal::run(&world, "read user-1") else { return };
    asked.until("Passphrase of the root slot: ");
    std::thread::sleep(HIDDEN_AFTER);
    asked.types("\u{4}").until("type it, and Enter behind it; or set OUBLIETTE_PASSPHRASE");
    asked.ends("1");
}

#[test]
fn a_signal_behind_the_prompt_of_a_passphrase_does_what_it_does_without_one() {
    let world = world();
    let Some(mut following) = Terminal::run(&world, "subscribe") else { return };
    following.until("Passphrase of the root slot: ").types("cuckoo\n").until("caught up;");
    // While that holds the vault, this one waits for it.
    std::fs::rename(world.path("pid"), world.path("following")).unwrap();
    let mut waiting = Terminal::run(&world, "--wait 20s append user-1 T").unwrap();
    waiting.until("Passphrase of the root slot: ").types("cuckoo\n");
    std::thread::sleep(HIDDEN_AFTER);
    waiting.signals(&world, Signal::TERM);
    waiting.ends("143");
    std::fs::rename(world.path("following"), world.path("pid")).unwrap();
    following.signals(&world, Signal::TERM);
    following.ends("0");
}
