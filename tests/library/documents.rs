//! The documents are true where a machine can tell: links lead somewhere, policies in them are
//! accepted, rooms that they name exist. Commands in them are parsed by the tests in
//! `crates/oubliette-cli/src/documents.rs`.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
};

use oubliette::policy::Policy;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Markdown files of the repository.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["docs", "examples", "tests", "benches", "crates"]
        .iter()
        .map(|name| root().join(name))
        .collect();
    found.extend(markdown_in(root()));
    while let Some(folder) = folders.pop() {
        found.extend(markdown_in(&folder));
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        folders.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()));
    }
    assert!(found.iter().any(|path| path.ends_with("README.md")), "{found:?}");
    found
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    // A link to a page is read where the page is: its own links start from there.
    let markdown =
        |path: &PathBuf| path.extension().is_some_and(|kind| kind == "md") && !path.is_symlink();
    entries.map(|entry| entry.unwrap().path()).filter(markdown).collect()
}

/// The text without its fenced code blocks, and the blocks with their language.
fn split_code(text: &str) -> (String, Vec<(String, String)>) {
    let (mut prose, mut blocks) = (String::new(), Vec::new());
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {
                prose.push_str(line);
                prose.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a code block is never closed");
    (prose, blocks)
}

/// The targets of `[text](target)`, and those of the lines `[text]: target`.
fn links(prose: &str) -> Vec<&str> {
    let inline = prose
        .match_indices("](")
        .filter_map(|(at, _)| prose[at + 2..].split_once(')').map(|(target, _)| target));
    inline.chain(definitions(prose).into_values()).collect()
}

/// What the lines `[text]: target` define.
fn definitions(prose: &str) -> BTreeMap<&str, &str> {
    let named = prose.lines().filter_map(|line| line.strip_prefix('['));
    named.filter_map(|line| line.split_once("]: ")).collect()
}

/// The anchors that a host makes of headings: lower case, without punctuation, spaces as hyphens.
fn anchors(prose: &str) -> HashSet<String> {
    let heading = |line: &str| {
        let text = line.trim_start_matches('#').trim();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    prose.lines().filter(|line| line.starts_with('#')).map(heading).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let (prose, _) = split_code(&fs::read_to_string(&document).unwrap());
        for link in links(&prose) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let leads = if anchor.is_empty() {
                target.exists()
            } else {
                fs::read_to_string(&target)
                    .is_ok_and(|text| anchors(&split_code(&text).0).contains(anchor))
            };
            if !leads {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_policy_shown_is_accepted() {
    let mut shown = 0;
    for name in ["README.md", "docs/guide.md", "docs/policy.md"] {
        let (_, blocks) = split_code(&fs::read_to_string(root().join(name)).unwrap());
        for (language, block) in blocks {
            if language == "toml" && block.contains("[[stream]]") {
                shown += 1;
                Policy::parse_as(&block, name).unwrap_or_else(|errors| panic!("{errors}"));
            }
        }
    }
    assert!(shown >= 5, "{shown}");
}

/// The tables of rooms name the modules of the library, and in the architecture the crates beside it, all of them
/// and no others.
#[test]
fn the_tables_of_rooms_name_every_module_and_no_other() {
    let named_by = |folder: &str, holds: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let rooms = entries.filter(|path| path.join(holds).exists());
        rooms.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    let modules = named_by("src", "mod.rs");
    let all = modules.union(&named_by("crates", "Cargo.toml")).cloned().collect();
    for (document, begins, ends, rooms) in [
        ("src/lib.rs", "\n//! | module |", "\n//!\n", modules),
        ("docs/architecture.md", "\n## The rooms\n", "\n## ", all),
    ] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let (_, section) = text.split_once(begins).unwrap();
        let (section, _) = section.split_once(ends).unwrap();
        let lines = section.lines().map(|line| line.trim_start_matches("//! "));
        let row = |line: &str| Some(line.strip_prefix("| ")?.split('`').nth(1)?.to_owned());
        let rows: BTreeSet<String> = lines.filter_map(row).collect();
        assert_eq!(rows, rooms, "{document}");
    }
}

/// A page that rustdoc shows has no files beside it, so that each link to a file is defined again there.
#[test]
fn every_link_of_a_page_that_rustdoc_shows_leads_somewhere_there() {
    let guide = fs::read_to_string(root().join("src/guide.rs")).unwrap();
    let links = fs::read_to_string(root().join("src/links.md")).unwrap();
    let defined = definitions(&links);
    let pages: Vec<&str> = guide.split('"').filter(|text| text.starts_with("../")).collect();
    assert!(pages.len() >= 10, "{pages:?}");
    let is_file = |target: &str| !target.contains("://") && !target.starts_with('#');
    for page in pages {
        let (prose, _) = split_code(&fs::read_to_string(root().join("src").join(page)).unwrap());
        for (at, _) in prose.match_indices("](") {
            let (target, _) = prose[at + 2..].split_once(')').unwrap();
            assert!(
                !is_file(target),
                "{page}: {target} cannot be defined anew: make it a reference"
            );
        }
        for (label, _) in definitions(&prose).into_iter().filter(|(_, target)| is_file(target)) {
            assert!(defined.contains_key(label), "{page}: [{label}] is not in src/links.md");
        }
    }
}

/// Names of tests in the last column of tables.
#[test]
fn every_test_that_a_table_names_exists() {
    let mut code = String::new();
    let mut folders = vec![root().join("src"), root().join("tests"), root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                Some(kind) if kind == "rs" => code.push_str(&fs::read_to_string(&path).unwrap()),
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    for (document, many) in [("docs/threat-model.md", 40), ("docs/format.md", 40)] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let tables = text.split("\n\n").filter(|table| {
            table
                .lines()
                .next()
                .is_some_and(|head| head.starts_with('|') && head.ends_with("| test |"))
        });
        let cells = tables.flat_map(str::lines).filter_map(|row| row.rsplit('|').nth(1));
        let named: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        assert!(named.len() > many, "{document}: {}", named.len());
        for name in named {
            // Not a function that no test calls.
            let at = code.find(&format!("fn {name}(")).map(|at| &code[..at]);
            let head = at.map(|before| before.rsplit("}\n").next().unwrap_or(before));
            let is_test =
                head.is_some_and(|head| head.contains("#[test]") || head.contains("#[tokio::test"));
            assert!(is_test, "{document}: there is no test {name}");
        }
    }
}

/// Tokio panics outside of its runtime, and some ways to ask for the time panic before 1970. The rooms ask
/// in one place for each, where that is an answer.
#[test]
fn no_room_calls_what_panics_outside_of_a_runtime_or_before_1970() {
    const PANICS: [&str; 6] = [
        "tokio::spawn(",
        "tokio::task::spawn_blocking(",
        "tokio::time::sleep(",
        "tokio::time::timeout(",
        "Handle::current(",
        "Uuid::now_v7(",
    ];
    let (mut folders, mut files) = (vec![root().join("src")], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // Tests are always within their runtime, and so is the suite that stores run.
            if ["tests", "elsewhere", "conformance"].iter().any(|name| path.ends_with(name)) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("tests.rs") && !path.ends_with("src/runtime.rs") {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                for call in PANICS {
                    assert!(!product.contains(call), "{call} in {}", path.display());
                }
                files += 1;
            }
        }
    }
    assert!(files > 100, "{files}");
}

/// What the documents say of the size of a token and of the tag, against a token and a tag.
#[tokio::test]
async fn the_documents_say_how_large_tokens_and_tags_are() {
    use oubliette::{
        event::{EventType, NewEvent, Payload, StreamName},
        layer::Codec,
        vault::Vault,
    };
    let codec = Codec::new(Vault::in_memory().unwrap(), Policy::sealed_by_default());
    // Not JSON: of that the token is the data as it is.
    let bytes = Payload::Bytes([7; 1000].into());
    let event = NewEvent::new(EventType::new("Moved").unwrap(), bytes);
    let sealed = codec.seal(&StreamName::new("user-1").unwrap(), event).await.unwrap();
    let Payload::Bytes(token) = &sealed.data else { panic!("it is JSON") };
    let metadata = sealed.metadata.as_ref().unwrap().as_str();
    let (_, tag) = metadata.split_once(r#""mac":""#).unwrap();
    let tag = tag.split('"').next().unwrap().len();
    let text = fs::read_to_string(root().join("docs/questions.md")).unwrap();
    for said in [
        format!("A token is {} bytes longer than what it seals", token.len() - 1000),
        format!("a tag of {tag} characters"),
    ] {
        assert!(text.contains(&said), "{said}");
    }
}

/// Sources of the packages: each with its folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|extension| extension == "rs") => {
                found.push(path);
            }
            false => {}
        }
    }
}

/// A package is published without what is beside its folder. A link within it is packed as the file that it leads to.
#[test]
fn no_source_that_ships_reads_a_file_from_outside_of_its_package() {
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let mut looked_at = 0;
    for package in crates.chain([root().to_owned()]) {
        let mut files = Vec::new();
        sources(&package.join("src"), &mut files);
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            let depth = file.strip_prefix(&package).unwrap().components().count() - 1;
            for (at, line) in lines.iter().enumerate() {
                let Some((_, path)) = line.split_once("\"../") else { continue };
                if !line.contains("include_") && !line.trim_start().starts_with("#[path") {
                    continue;
                }
                looked_at += 1;
                let up = 1 + path.matches("../").count();
                let is_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{');
                let for_tests = file.components().any(|part| part.as_os_str() == "tests")
                    || at > 0 && lines[at - 1] == "#[cfg(test)]"
                    || lines[..at].windows(2).any(is_tests);
                assert!(up <= depth || for_tests, "{}:{}: {line}", file.display(), at + 1);
            }
        }
    }
    assert!(looked_at > 5, "{looked_at}");
}
