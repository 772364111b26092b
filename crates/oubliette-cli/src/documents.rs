//! The documents are true of the command line: every `oubliette …` in them parses, every option exists.

use std::{collections::HashSet, fs, path::Path};

use clap::{CommandFactory, Parser, error::ErrorKind};

use super::Args;

/// Options in the documents that are another program's.
const OTHERS: [&str; 7] =
    ["features", "no-default-features", "secure", "lazy", "release", "test-threads", "sanitizer"];

/// What a document says to type.
struct Said {
    /// The document, and the text there.
    place: String,
    words: Vec<String>,
    /// Whether it is to be typed as it is, and not only named in a sentence.
    whole: bool,
}

#[test]
fn every_command_in_the_documents_parses() {
    let said = commands();
    let of = |whole| said.iter().filter(|said| said.whole == whole).count();
    // As many as there are, about: the search does not overlook them.
    assert!(of(true) >= 35 && of(false) >= 20, "{} {}", of(true), of(false));
    let wrong: Vec<String> = said.iter().filter_map(fault).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_option_in_the_documents_exists() {
    let mut known: HashSet<String> = OTHERS.map(str::to_owned).into();
    let mut commands = vec![Args::command()];
    while let Some(mut command) = commands.pop() {
        command.build();
        known.extend(command.get_arguments().filter_map(|a| a.get_long().map(str::to_owned)));
        commands.extend(command.get_subcommands().cloned());
    }
    let mut seen = 0;
    for (name, text) in documents() {
        for span in spans(&prose_and_blocks(&text).0) {
            let Some(option) = span.strip_prefix("--") else { continue };
            let end = option.find(|c: char| !(c.is_ascii_lowercase() || c == '-'));
            let option = &option[..end.unwrap_or(option.len())];
            assert!(known.contains(option), "{name}: no command has the option --{option}");
            seen += 1;
        }
    }
    assert!(seen >= 30, "{seen}");
}

/// All commands, with their help as it is shown.
fn helps() -> Vec<(String, String)> {
    let (mut helps, mut commands) = (Vec::new(), vec![(String::new(), Args::command())]);
    while let Some((path, mut command)) = commands.pop() {
        command.build();
        let path = format!("{path} {}", command.get_name());
        commands.extend(command.get_subcommands().map(|sub| (path.clone(), sub.clone())));
        for help in [command.render_help(), command.render_long_help()] {
            helps.push((path.clone(), help.to_string()));
        }
    }
    helps
}

#[test]
fn every_help_fits_on_80_columns() {
    let wide = |line: &&str| line.chars().count() > 80;
    for (path, help) in helps() {
        let wide: Vec<&str> = help.lines().filter(wide).collect();
        assert!(wide.is_empty(), "{path}: {wide:#?}");
    }
}

/// Clap breaks lines where they end: a text is worded so that no word is left alone.
#[test]
fn no_word_of_a_help_stands_alone_on_a_line() {
    let mut alone = Vec::new();
    for (path, help) in helps() {
        for lines in help.lines().collect::<Vec<_>>().windows(2) {
            let goes_on = !lines[0].trim().is_empty() && !lines[0].ends_with(':');
            let [word] = lines[1].split_whitespace().collect::<Vec<_>>()[..] else { continue };
            // An option, an argument, and the text below them.
            let begins = lines[0].trim_start().starts_with(['-', '<', '['])
                && !lines[0].trim_start().contains("  ");
            if goes_on && !begins && !word.starts_with(['-', '<', '[']) {
                alone.push(format!("{path}: {} | {word}", lines[0].trim()));
            }
        }
    }
    alone.sort();
    alone.dedup();
    assert!(alone.is_empty(), "{alone:#?}");
}

#[test]
fn every_example_in_a_help_parses() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for (path, help) in helps() {
        let help = help.replace("\\\n      ", "");
        let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
        for line in lines.filter(|line| !line.starts_with(' ')) {
            // Behind two spaces it says what it is for, behind a bar the next program begins.
            let parts = line.split(" | ").flat_map(|part| part.split(" || "));
            for part in parts.map(|part| part.trim().split("  ").next().unwrap_or_default()) {
                if part.starts_with("oubliette ") && !part.ends_with("...") {
                    seen += 1;
                    let words = part.split_once(" > ").map_or(part, |(command, _)| command);
                    wrong.extend(fault(&Said::new(&path, words, true)));
                }
            }
        }
    }
    assert!(seen >= 120, "{seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Why a command cannot be typed so; `None`: it can.
fn fault(said: &Said) -> Option<String> {
    use ErrorKind::{
        DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, MissingRequiredArgument,
        MissingSubcommand,
    };
    let error = Args::try_parse_from(&said.words).err()?;
    let accepted = match error.kind() {
        DisplayHelp => true,
        // A sentence may name a command without all that it needs.
        DisplayHelpOnMissingArgumentOrSubcommand | MissingRequiredArgument | MissingSubcommand => {
            !said.whole
        }
        // A store whose adapter only a program with its feature has.
        _ => error.to_string().contains("this program was built without"),
    };
    (!accepted).then(|| format!("{}\n  {:?}\n  {error}", said.place, said.words))
}

fn documents() -> Vec<(String, String)> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/decisions", "docs/stores"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// All commands in all documents.
fn commands() -> Vec<Said> {
    let mut said = Vec::new();
    for (name, text) in documents() {
        let (prose, blocks) = prose_and_blocks(&text);
        for span in spans(&prose) {
            // Not the library in a manifest, and not the labels of derived keys.
            let label = span.contains(" = {") || span.contains(" 1: ");
            if span.starts_with("oubliette ") && !label {
                said.push(Said::new(&name, &span, span.contains(" --yes")));
            }
        }
        for block in blocks {
            let yaml = block.starts_with("yaml");
            let mut lines = block.lines().peekable();
            while let Some(line) = lines.next() {
                let line = line.trim_start().trim_start_matches("$ ");
                // Nor the library in a manifest.
                if !line.starts_with("oubliette ") || line.starts_with("oubliette = ") {
                    continue;
                }
                let mut line = line.to_owned();
                while line.ends_with('\\') || line.matches('\'').count() % 2 == 1 {
                    line.truncate(line.trim_end_matches('\\').len());
                    line.push_str(lines.next().unwrap().trim_start());
                }
                // There a text is folded until the next entry.
                while let Some(next) =
                    lines.next_if(|next| yaml && !next.trim_start().starts_with('-'))
                {
                    line.push(' ');
                    line.push_str(next);
                }
                said.push(Said::new(&name, &line, true));
            }
        }
    }
    said
}

impl Said {
    fn new(document: &str, text: &str, whole: bool) -> Self {
        let mut words = words(text);
        // What a sentence says of any command holds of one.
        for word in &mut words {
            match word.as_str() {
                "COMMAND" => *word = "append".to_owned(),
                "EVENT" | "$EVENT" | "$ERASURE" => {
                    *word = "6f0dbd6e-3c1e-4c53-9d0b-5b6c5f5f4d11".to_owned();
                }
                "KEY" | "$KEY" => *word = "5YQDkV3PqkHn2mA7sZcB0w".to_owned(),
                _ => {}
            }
        }
        let cut = words.iter().position(|word| word == "…");
        words.truncate(cut.unwrap_or(words.len()));
        Self { place: format!("{document}: {text}"), words, whole: whole && cut.is_none() }
    }
}

/// The words of a command, as a shell takes them; of alternatives (`table|json`) the first.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '#' | '>' | '|') if word.is_empty() => break,
            (None, c) if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            (None, c) => word.push(c),
        }
    }
    words.push(word);
    let first = |word: String| match word.split_once('|') {
        Some((first, _)) => first.to_owned(),
        None => word,
    };
    words.into_iter().filter(|word| !word.is_empty()).map(first).collect()
}

/// The text without its fenced blocks, and these.
fn prose_and_blocks(text: &str) -> (String, Vec<String>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    for (at, part) in text.split("```").enumerate() {
        if at % 2 == 0 { prose.push_str(part) } else { blocks.push(part.to_owned()) }
    }
    (prose, blocks)
}

/// What is written as code within sentences; one that is broken over two lines has one blank there.
fn spans(prose: &str) -> Vec<String> {
    let of_paragraph = |paragraph: &str| -> Vec<String> {
        let spans = paragraph.split('`').skip(1).step_by(2);
        spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    prose.split("\n\n").flat_map(of_paragraph).collect()
}
