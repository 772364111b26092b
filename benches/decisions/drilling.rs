//! What a drill takes for what it searches.

use std::{fs, io::Write as _, path::PathBuf, time::Instant};

use flate2::{Compression, write::GzEncoder};
use oubliette::audit::drill::DrillOptions;
use rand::{TryRng as _, rngs::SysRng};
use sha2::{Digest as _, Sha256};

use crate::{Bench, event, folder, layer, put};

/// How long what is searched is, packed or not, in KiB: where it is slow, a quarter.
const LONG: usize = 1024;
const SHORT: usize = 256;
/// How many people have two values each that are searched for.
const PEOPLE: usize = 100;

pub(crate) fn cases(bench: &mut Bench<'_>) {
    let (layer, ..) = bench.run(layer());
    bench.run(async {
        for number in 0..PEOPLE {
            let data =
                format!(r#"{{"email":"person{number}@example.org","iban":"DE{number:020}"}}"#);
            put(&layer, &format!("user-{number}"), vec![event("Noted", &data)]).await;
        }
    });
    let folder = folder();
    let text: String = (0..)
        .map(|line| {
            format!("{line} INFO request from 10.0.0.{} took {} ms\n", line % 251, line % 97)
        })
        .scan(0, |length, line| {
            *length += line.len();
            (*length <= LONG << 10).then_some(line)
        })
        .collect();
    let mut noise = vec![0; SHORT << 10];
    SysRng.try_fill_bytes(&mut noise).unwrap();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &noise);
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let handle = bench.runtime.handle().clone();
    let drill = |path: &PathBuf| {
        let options = DrillOptions { paths: vec![path.clone()], ..DrillOptions::default() };
        let start = Instant::now();
        handle.block_on(layer.drill(options, drop)).unwrap();
        start.elapsed()
    };
    let digest = |path: &PathBuf| {
        let start = Instant::now();
        std::hint::black_box(Sha256::digest(fs::read(path).unwrap()));
        start.elapsed()
    };
    for (case, kib, path) in [
        ("drilling 1 KiB of a log, against its SHA-256", LONG, file("log", text.as_bytes())),
        (
            "drilling 1 KiB of a log that is in gzip, against the SHA-256 of what is packed",
            LONG,
            file("log.gz", &packed.finish().unwrap()),
        ),
        ("drilling 1 KiB of noise, against its SHA-256", SHORT, file("noise", &noise)),
        (
            "drilling 1 KiB of noise in base64, against the SHA-256 of the text",
            SHORT,
            file("base64", base64.as_bytes()),
        ),
    ] {
        bench.pair("22", case, kib as u64, |_| digest(&path), |_| drill(&path));
    }
}
