//! Inputs for fuzzing: well-formed ones with something wrong, by structure (JSON and TOML values) and by text. From a seed, so
//! that a run repeats.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// No input may take longer: of the processor where that can be told, else by the clock.
const LONGEST: Duration = Duration::from_secs(2);
/// Bytes of the largest input; larger files and answers are refused before they are read.
const LARGEST: usize = 1 << 19;
/// Bytes of memory that a surface may take at its highest, the test itself included.
const MEMORY: u64 = 1 << 30;

/// SplitMix64.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, and 0 for 0.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.number() % (n.max(1) as u64)).unwrap_or_default()
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Text that readers stumble over.
fn odd_text(rng: &mut Rng) -> String {
    const ODD: [&str; 40] = [
        "",
        " ",
        "0",
        "-0",
        "-1",
        "1e999",
        "0x",
        "0X1",
        "0xg",
        "0x0",
        "x",
        "null",
        "true",
        "any",
        "now",
        "never",
        "0.1 eth",
        "-5 gwei",
        "999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999",
        "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0x5FbDB2315678afecb367f032d93F642f64180aa3",
        "0x5fbdb2315678afecb367f032d93f642f64180AA3",
        "24h",
        "1y9999999999999d",
        "9999-12-31T23:59:59Z",
        "0000-00-00T00:00:00Z",
        "1970-01-01T00:00:00+99:99",
        "\u{0}",
        "\u{1b}[2J",
        "\u{202e}gnp",
        "\u{feff}",
        "ẞ\u{301}",
        "\u{10ffff}",
        "../../etc/passwd",
        "erc20",
        "f(",
        "f()",
        "f(uint256[][][][][])",
        "f(((((((((uint8)))))))))",
        "uint256[18446744073709551615]",
    ];
    match rng.below(10) {
        0 => "9".repeat(1 << rng.below(13)),
        1 => format!("0x{}", "f".repeat(1 << rng.below(14))),
        2 => "(".repeat(1 << rng.below(12)),
        3 => format!("f({}uint8{})", "(".repeat(1 << rng.below(10)), ")".repeat(1 << rng.below(10))),
        _ => (*rng.pick(&ODD)).to_owned(),
    }
}

fn odd_value(rng: &mut Rng) -> Value {
    match rng.below(14) {
        0 => Value::Null,
        1 => json!(rng.one_in(2)),
        2 => json!(0),
        3 => json!(-1),
        4 => json!(u64::MAX),
        5 => json!(i64::MIN),
        6 => json!(1.5e300),
        7 => json!(1u64 << rng.below(64)),
        8 => json!([]),
        9 => json!({}),
        10 => (0..(1 << rng.below(8)))
            .fold(json!(0), |inner, n| if n % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) }),
        _ => Value::String(odd_text(rng)),
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The value at a place in depth-first order.
fn at(value: &mut Value, place: usize) -> Option<&mut Value> {
    if place == 0 {
        return Some(value);
    }
    let mut left = place - 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => return None,
    };
    for child in children {
        let size = count(child);
        if left < size {
            return at(child, left);
        }
        left -= size;
    }
    None
}

/// Changes one thing in a value, somewhere.
pub fn mutate(rng: &mut Rng, whole: &mut Value) {
    let places = count(whole);
    let other = {
        let place = rng.below(places);
        at(whole, place).map(|v| v.clone()).unwrap_or_default()
    };
    let place = rng.below(places);
    let Some(value) = at(whole, place) else { return };
    match (rng.below(4), value) {
        (0, Value::String(text)) => *text = mutated_text(rng, text, &[]),
        (0, Value::Number(number)) => {
            let n = number.as_i64().unwrap_or_default();
            let near = [
                n.wrapping_add(1),
                n.wrapping_sub(1),
                n.wrapping_neg(),
                n.wrapping_mul(1000),
                n ^ (1 << rng.below(63)),
            ];
            *number = (*rng.pick(&near)).into();
        }
        (0 | 1, Value::Array(items)) if !items.is_empty() => {
            let at = rng.below(items.len());
            match rng.below(4) {
                0 => drop(items.remove(at)),
                1 => items.swap(0, at),
                2 => items.insert(at, other),
                _ => {
                    let item = items[at].clone();
                    items.extend(std::iter::repeat_n(item, 1 << rng.below(9)));
                }
            }
        }
        (0 | 1, Value::Object(fields)) if !fields.is_empty() => {
            let name = rng.pick(&fields.keys().cloned().collect::<Vec<_>>()).clone();
            let field = fields.remove(&name).unwrap_or_default();
            match rng.below(3) {
                0 => {}
                1 => drop(fields.insert(mutated_text(rng, &name, &[]), field)),
                _ => {
                    fields.insert(odd_text(rng), other);
                    fields.insert(name, field);
                }
            }
        }
        (2, value) => *value = other,
        (_, value) => *value = odd_value(rng),
    }
}

/// Changes one thing in a text. `tokens` are words of its language.
pub fn mutated_text(rng: &mut Rng, text: &str, tokens: &[&str]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let (from, to) = {
        let (a, b) = (rng.below(chars.len() + 1), rng.below(chars.len() + 1));
        (a.min(b), a.max(b).min(a.min(b) + 40))
    };
    match rng.below(7) {
        0 => drop(chars.drain(from..to)),
        1 => {
            let piece = chars[from..to].to_vec();
            let times = 1 << rng.below(6);
            chars.splice(from..from, piece.repeat(times));
        }
        2 if from < chars.len() => {
            const ODD: [char; 12] = ['\0', '"', '\\', '\n', '[', '}', '=', '-', '\u{202e}', 'é', '\u{1f600}', '9'];
            chars[from] = *rng.pick(&ODD);
        }
        3 => chars.truncate(from),
        4 if !tokens.is_empty() => drop(chars.splice(from..to, rng.pick(tokens).chars())),
        5 => drop(chars.splice(from..from, odd_text(rng).chars())),
        _ => {
            if let Some(c) = chars.get_mut(from) {
                *c = char::from_u32(u32::from(*c) ^ (1 << rng.below(7))).unwrap_or('?');
            }
        }
    }
    chars.into_iter().collect()
}

/// The seeds of a surface: the files of a folder of tests/fuzz_corpus, in the order of their names.
pub fn corpus(surface: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz_corpus").join(surface);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&folder).expect("the corpus").map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).expect("a seed")).collect()
}

/// How many inputs: a fixed number in CI, a hundred times as many with KEYLEASH_LONG=1.
pub fn inputs(in_ci: u64) -> u64 {
    if std::env::var_os("KEYLEASH_LONG").is_some_and(|v| v == "1") { in_ci * 100 } else { in_ci }
}

/// Feeds `number` inputs to a reader: no panic, none above two seconds, and memory stays bounded. An input that is at fault is
/// kept under target/tmp, or in the temporary folder.
pub fn feed(surface: &str, number: u64, make: impl Fn(&mut Rng) -> String, read: impl Fn(&str)) {
    let current = Arc::new(AtomicU64::new(0));
    let watched = Arc::clone(&current);
    let name = surface.to_owned();
    // An input that never comes to an end would leave nothing but silence.
    std::thread::spawn(move || {
        let mut last = (0, Instant::now());
        while watched.load(Ordering::Relaxed) < u64::MAX {
            std::thread::sleep(Duration::from_millis(200));
            let now = watched.load(Ordering::Relaxed);
            if now != last.0 {
                last = (now, Instant::now());
            } else if last.1.elapsed() > LONGEST * 15 {
                eprintln!("{name}: input {now} does not come to an end");
                std::process::exit(101);
            }
        }
    });
    let mut slowest = (Duration::ZERO, 0);
    for n in 0..number {
        let input = make(&mut Rng::new(n.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ surface.len() as u64));
        if input.len() > LARGEST {
            continue;
        }
        current.store(n + 1, Ordering::Relaxed);
        let (started, worked) = (Instant::now(), processor_time());
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&input)));
        // A busy machine is not the reader's fault.
        let took =
            processor_time().zip(worked).map_or_else(|| started.elapsed(), |(now, before)| now.saturating_sub(before));
        if took > slowest.0 {
            slowest = (took, n);
        }
        if outcome.is_err() || took > LONGEST {
            let kept = std::env::temp_dir().join(format!("keyleash-fuzz-{surface}-{n}"));
            fs::write(&kept, &input).expect("the input at fault");
            current.store(u64::MAX, Ordering::Relaxed);
            let what = if outcome.is_err() { "panics".to_owned() } else { format!("takes {took:?}") };
            panic!("{surface}: input {n} {what}; it is in {}", kept.display());
        }
    }
    current.store(u64::MAX, Ordering::Relaxed);
    let peak = peak_memory();
    println!(
        "{surface}: {number} inputs; the slowest took {:?} (input {}); {} MB at the highest",
        slowest.0,
        slowest.1,
        peak >> 20
    );
    assert!(peak < MEMORY, "{surface}: {} MB", peak >> 20);
}

/// What this thread has had of the processor.
fn processor_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// What this process had resident at its highest, in bytes; 0 where that cannot be told.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1024
}
