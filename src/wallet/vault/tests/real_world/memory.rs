//! After a secret was used, is it still somewhere in the memory of this process? A worker looks through all of its own
//! writable memory: heap, stacks (dead frames included), everything.

use std::{fs, io, os::unix::fs::FileExt, path::Path};

use alloy::primitives::B256;
use zeroize::{Zeroize, Zeroizing};

use crate::wallet::submit::signer;

use super::{
    ANVIL_0, ID, OTHER_ID,
    desktop::Desktop,
    vault::{
        AskPassphrase, Backend, PassphraseSource, Question, Vault, VaultError,
        import::{self, TextSource},
    },
    worker::{what_it_says, worker},
};

/// The secret, each byte xor 0x5a, so that looking for it does not put it there.
const MASK: u8 = 0x5a;
const MASKED: [u8; 32] = [
    0xf6, 0x53, 0x2e, 0xe4, 0x99, 0xc0, 0x4d, 0xb9, 0x31, 0xfe, 0xfc, 0xee, 0x88, 0x62, 0xa5, 0xce, 0x11, 0xf6, 0xee,
    0x22, 0x91, 0xb7, 0x04, 0xa6, 0xf4, 0x22, 0x17, 0x21, 0xae, 0xa8, 0xa5, 0xda,
];
/// What stands between a mnemonic and its keys, masked likewise, the first 16 bytes of each: anvil's entropy, seed and master
/// key, and the last half of that key lowest byte first.
const RELATIVES: [[u8; 16]; 4] = [
    [0x85, 0xc1, 0xa9, 0x24, 0x35, 0x97, 0xa3, 0xe5, 0x6d, 0xbc, 0xa6, 0x85, 0xc1, 0xa9, 0x24, 0x66],
    [0xc7, 0xa6, 0x66, 0x3e, 0x98, 0xa2, 0xe4, 0x84, 0x4f, 0x69, 0xec, 0xfd, 0xc5, 0xdf, 0x2a, 0xbf],
    [0xf7, 0xff, 0xad, 0xc8, 0xd4, 0xa2, 0xac, 0xde, 0xf5, 0xfd, 0xea, 0x33, 0x73, 0xef, 0x8b, 0xac],
    [0x84, 0x40, 0xdf, 0x36, 0x83, 0x84, 0xd4, 0x23, 0xc7, 0xe0, 0x2d, 0x7a, 0xef, 0xdc, 0xbe, 0x09],
];
const CHUNK: usize = 1 << 16;
/// anvil's mnemonic, whose first key is the secret.
const WORDS: &str = "test test test test test test test test test test test junk";

/// How often the secret is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Copies {
    raw: usize,
    /// Lowest byte first, as arithmetic keeps it.
    reversed: usize,
    hex: usize,
    /// The mnemonic (its last words), its entropy, seed, or master key.
    mnemonic: usize,
}

/// For the worker: uses the secret as `how` says, and tells how often it is in memory while it is alive and after.
pub fn scan(vault: &Vault, in_files: &Vault, home: &Path, how: &str) -> Result<String, VaultError> {
    let text = || TextSource::File(home.join("key"));
    let secret = match how {
        "get" => vault.get(&super::id())?,
        "hex" => import::hex_key(&text())?,
        "mnemonic" => import::mnemonic_key(&text(), None)?,
        "keystore" => {
            let file = home.join(format!("vault/{ID}.json"));
            import::keystore_key(&file, &PassphraseSource::Prompt(Box::new(Test)))?
        }
        "put-file" | "put-keyring" => {
            let secret = import::hex_key(&text())?;
            let vault = if how == "put-file" { in_files } else { vault };
            vault.put(&OTHER_ID.parse().unwrap(), &secret, "second")?;
            secret
        }
        "to-file" | "to-keyring" => {
            let to = if how == "to-file" { Backend::File } else { Backend::Keyring };
            vault.move_to(&super::id(), to)?;
            vault.get(&super::id())?
        }
        other => panic!("no such use: {other}"),
    };
    // As use-cases sign: a future is one more place that a copy could stay in.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(signer::sign_operation(&secret, B256::repeat_byte(1))).unwrap();
    let alive = {
        // One of each kind, to show that they would be seen.
        let _hex = secret.to_hex();
        let mut reversed = Box::new(Zeroizing::new([0u8; 32]));
        reversed.iter_mut().zip(secret.expose().iter().rev()).for_each(|(to, from)| *to = *from);
        let _words = (how == "mnemonic").then(|| Zeroizing::new(fs::read(home.join("key")).unwrap()));
        copies().unwrap()
    };
    drop(secret);
    Ok(format!("alive {alive:?}, dropped {:?}", copies().unwrap()))
}

struct Test;

impl AskPassphrase for Test {
    fn ask(&self, _: Question) -> Result<Zeroizing<String>, VaultError> {
        Ok(Zeroizing::new("test".to_owned()))
    }
}

fn copies() -> io::Result<Copies> {
    let memory = fs::File::open("/proc/self/mem")?;
    let mut chunk = vec![0u8; CHUNK];
    let own = chunk.as_ptr().addr()..chunk.as_ptr().addr() + CHUNK;
    let zeros = vec![0u8; CHUNK];
    let mut copies = Copies { raw: 0, reversed: 0, hex: 0, mnemonic: 0 };
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let mut at = start;
        while at < end {
            let length = CHUNK.min(end - at);
            // Some pages of the kernel cannot be read; most were never written.
            if memory.read_exact_at(&mut chunk[..length], at as u64).is_ok() && chunk[..length] != zeros[..length] {
                for (offset, byte) in chunk[..length].iter().enumerate().filter(|(_, byte)| **byte != 0) {
                    if own.contains(&(at + offset)) {
                        continue;
                    }
                    let rest = &chunk[offset..length];
                    copies.raw += usize::from(*byte == MASKED[0] ^ MASK && is_raw(rest));
                    copies.reversed += usize::from(*byte == MASKED[31] ^ MASK && is_reversed(rest));
                    copies.mnemonic += usize::from(*byte == b't' && is_words(rest));
                    copies.mnemonic +=
                        RELATIVES.iter().filter(|r| *byte == r[0] ^ MASK && is_relative(rest, r)).count();
                    copies.hex += usize::from(byte.is_ascii_hexdigit() && is_hex(rest));
                }
            }
            chunk.as_mut_slice().zeroize();
            // Overlapping, for what lies across the border.
            at += if length == CHUNK { CHUNK - 63 } else { length };
        }
    }
    Ok(copies)
}

fn is_raw(memory: &[u8]) -> bool {
    memory.len() >= 32 && memory.iter().zip(MASKED).all(|(byte, masked)| *byte == masked ^ MASK)
}

fn is_reversed(memory: &[u8]) -> bool {
    memory.len() >= 32 && memory.iter().zip(MASKED.iter().rev()).all(|(byte, masked)| *byte == masked ^ MASK)
}

fn is_relative(memory: &[u8], relative: &[u8; 16]) -> bool {
    memory.len() >= 16 && memory.iter().zip(relative).all(|(byte, masked)| *byte == masked ^ MASK)
}

/// `test test junk`, written so that this is not one more place that has it.
fn is_words(memory: &[u8]) -> bool {
    let (words, last) = memory.split_at(memory.len().min(10));
    words == b"test test " && last.starts_with(b"junk")
}

fn is_hex(memory: &[u8]) -> bool {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap() as u8;
    memory.len() >= 64
        && memory.chunks(2).zip(MASKED).all(|(pair, masked)| {
            let byte = masked ^ MASK;
            pair[0].to_ascii_lowercase() == digit(byte >> 4) && pair[1].to_ascii_lowercase() == digit(byte & 15)
        })
}

/// What a worker in `home` finds.
fn found(home: &Path, how: &str) -> String {
    what_it_says(&worker(home, &format!("memory {how}")).output().unwrap())
}

fn assert_forgotten(how: &str, said: &str) {
    println!("{how}: {said}");
    let words = u8::from(how == "mnemonic");
    let alive = format!("alive Copies {{ raw: 1, reversed: 1, hex: 1, mnemonic: {words} }}");
    assert!(said.starts_with(&alive), "{how}: {said}");
    assert!(said.ends_with("dropped Copies { raw: 0, reversed: 0, hex: 0, mnemonic: 0 }"), "{how}: {said}");
}

#[test]
fn nothing_of_a_secret_stays_in_memory_after_its_last_use() {
    for (how, key) in [("get", ""), ("keystore", ""), ("hex", ANVIL_0), ("put-file", ANVIL_0), ("mnemonic", WORDS)] {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("key"), key).unwrap();
        Vault::for_tests(home.path()).put(&super::id(), &super::anvil(), "treasury").unwrap();
        let said = found(home.path(), how);
        assert_forgotten(how, &said);
    }
}

#[test]
fn the_keyring_libraries_leave_nothing_in_memory_either() {
    let Some(desktop) = Desktop::unlocked() else { return };
    fs::write(desktop.path().join("key"), ANVIL_0).unwrap();
    assert_eq!(desktop.run(&format!("put-keyring {ID}")), "done");
    for how in ["get", "put-keyring", "to-file", "to-keyring"] {
        assert_forgotten(how, &desktop.run(&format!("memory {how}")));
    }
}
