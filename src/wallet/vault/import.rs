//! Owner keys that exist already: as hex text, as a mnemonic, or as a keystore, from a file or from standard input.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use alloy::signers::local::{MnemonicBuilder, coins_bip39::English};
use zeroize::Zeroizing;

use super::{
    PassphraseSource, Question, VaultError, keystore, passphrase::unbuffered_stdin, private_files::read_bounded,
};
use crate::secret::Secret;

/// BIP-44, the first Ethereum account: what wallets show as "account 1".
pub const DEFAULT_PATH: &str = "m/44'/60'/0'/0/0";
/// The longest text with a key or a mnemonic, in bytes. 24 words of 8 letters have 215.
const MAX_TEXT: usize = 1024;
/// BIP-32 allows 255; wallets use five or six.
const MAX_DEPTH: usize = 10;

/// Where a person has written a key down.
pub enum TextSource {
    File(PathBuf),
    StandardInput,
}

impl TextSource {
    /// `-` is standard input.
    pub fn from_argument(argument: &str) -> Self {
        if argument == "-" { Self::StandardInput } else { Self::File(argument.into()) }
    }

    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::StandardInput => "standard input".into(),
        }
    }

    /// The whole text, in a buffer that never grows and is wiped. Pipes are welcome: a password manager may write into one.
    fn read(&self) -> Result<Zeroizing<String>, VaultError> {
        let mut file = match self {
            Self::File(path) => File::open(path).map_err(|e| VaultError::io("read the key from", path, e))?,
            Self::StandardInput => unbuffered_stdin()?,
        };
        let mut buffer = Zeroizing::new([0u8; MAX_TEXT + 1]);
        let mut length = 0;
        loop {
            let Some(free) = buffer.get_mut(length..).filter(|free| !free.is_empty()) else {
                return Err(self.unusable("it is longer than 1024 bytes, which no key or mnemonic is"));
            };
            match file.read(free) {
                Ok(0) => break,
                Ok(got) => length += got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(VaultError::io("read the key from", Path::new(&self.name()), e)),
            }
        }
        let text = std::str::from_utf8(buffer.get(..length).unwrap_or_default());
        text.map(|text| Zeroizing::new(text.to_owned())).map_err(|_| self.unusable("it is not text"))
    }

    fn unusable(&self, why: &'static str) -> VaultError {
        VaultError::Import { what: self.name(), why }
    }
}

/// A private key written as 64 hexadecimal digits.
pub fn hex_key(source: &TextSource) -> Result<Secret, VaultError> {
    Secret::from_hex(&source.read()?).map_err(|_| {
        source.unusable(
            "a private key is 64 hexadecimal digits, with or without 0x, and nothing else; this is something else",
        )
    })
}

/// The key that an English BIP-39 mnemonic without extra passphrase has at `path` (BIP-32), [`DEFAULT_PATH`] if not said.
pub fn mnemonic_key(source: &TextSource, path: Option<&str>) -> Result<Secret, VaultError> {
    let path = path.unwrap_or(DEFAULT_PATH);
    if !is_derivation_path(path) {
        return Err(VaultError::Import {
            what: "the derivation path".into(),
            why: "it looks like m/44'/60'/0'/0/0: m, then at most ten numbers below 2^31, each with or without '",
        });
    }
    let text = source.read()?;
    let mut words = Zeroizing::new(String::with_capacity(text.len()));
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.extend(word.chars().map(|c| c.to_ascii_lowercase()));
    }
    // Their errors quote the words: they are dropped unread.
    let wrong = || {
        source.unusable(
            "it is not an English BIP-39 mnemonic: 12, 15, 18, 21 or 24 words of the list, the last one fits the rest",
        )
    };
    let builder = MnemonicBuilder::<English>::default().derivation_path(path).map_err(|_| wrong())?;
    let signer = builder.phrase(words.as_str()).build().map_err(|_| wrong())?;
    let mut bytes = Zeroizing::new(signer.to_bytes().0);
    Secret::from_bytes(&mut bytes).map_err(|_| wrong())
}

fn is_derivation_path(path: &str) -> bool {
    let mut parts = path.split('/');
    let index = |part: &str| {
        let digits = part.strip_suffix('\'').unwrap_or(part);
        digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u32>().is_ok_and(|n| n < 1 << 31)
    };
    parts.next() == Some("m") && (1..=MAX_DEPTH).contains(&parts.clone().count()) && parts.all(index)
}

/// A version 3 keystore of any origin. `passphrase` is asked with [`Question::Import`].
pub fn keystore_key(file: &Path, passphrase: &PassphraseSource) -> Result<Secret, VaultError> {
    // A file that cannot be opened is refused before anybody types a passphrase.
    let json = read_bounded(file, keystore::MAX_FILE)?;
    let sealed = keystore::parse(&json).map_err(|e| VaultError::from_keystore(file.to_owned(), e))?;
    let passphrase = passphrase.ask(Question::Import)?;
    sealed.open(&passphrase).map_err(|e| VaultError::from_keystore(file.to_owned(), e))
}
