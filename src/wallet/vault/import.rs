//! Owner keys that exist already: as hex text, as a mnemonic, or as a keystore, from a file or from standard input.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{
    PassphraseSource, VaultError, blocking, keystore, mnemonic,
    passphrase::{Question, unbuffered_stdin},
    private_files::read_bounded,
};
use crate::{secret::Secret, wallet::files::open_input};

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
            Self::File(path) => open_input(path).map_err(|e| VaultError::io("read the key from", path, e))?,
            Self::StandardInput => {
                unbuffered_stdin().map_err(|e| VaultError::io("read the key from", Path::new("standard input"), e))?
            }
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
        let bytes = buffer.get(..length).unwrap_or_default();
        // Windows editors put a byte order mark before a text.
        let text = std::str::from_utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
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
    let path = derivation_path(path.unwrap_or(DEFAULT_PATH)).ok_or_else(|| VaultError::Import {
        what: "the derivation path".into(),
        why: "it looks like m/44'/60'/0'/0/0: m, then at most ten numbers below 2^31, each with or without '",
    })?;
    mnemonic::key(&source.read()?, &path).ok_or_else(|| {
        source.unusable(
            "it is not an English BIP-39 mnemonic: 12, 15, 18, 21 or 24 words of the list, the last one fits the rest",
        )
    })
}

/// The child numbers of a path, hardened ones with the highest bit set.
fn derivation_path(text: &str) -> Option<Vec<u32>> {
    let numbers = text.strip_prefix("m/")?;
    let path: Option<Vec<u32>> = numbers
        .split('/')
        .map(|number| {
            let (digits, hardened) =
                number.strip_suffix('\'').map_or((number, 0), |digits| (digits, mnemonic::HARDENED));
            // `parse` would take a plus sign.
            let number: u32 = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
            (number < mnemonic::HARDENED).then_some(number | hardened)
        })
        .collect();
    path.filter(|path| path.len() <= MAX_DEPTH)
}

/// A version 3 keystore of any origin. `passphrase` is asked with [`Question::Import`].
pub fn keystore_key(file: &Path, passphrase: &PassphraseSource) -> Result<Secret, VaultError> {
    // A file that cannot be opened is refused before anybody types a passphrase.
    let json = read_bounded(file, keystore::MAX_FILE)?;
    let sealed = keystore::parse(&json).map_err(|e| VaultError::from_keystore(file.to_owned(), e))?;
    blocking(|| {
        let passphrase = passphrase.ask(Question::Import)?;
        sealed.open(&passphrase).map_err(|e| VaultError::from_keystore(file.to_owned(), e))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_strictly() {
        let hardened = |n: u32| n | mnemonic::HARDENED;
        assert_eq!(derivation_path(DEFAULT_PATH), Some(vec![hardened(44), hardened(60), hardened(0), 0, 0]));
        assert_eq!(derivation_path("m/2147483647'"), Some(vec![u32::MAX]));
        for bad in
            ["", "m", "m/", "44'/60'", "m/+1", "m/-1", "m/2147483648", "m/1''", "m/'", "m//1", "M/1", "m/1h", "m/ 1"]
        {
            assert_eq!(derivation_path(bad), None, "{bad}");
        }
        assert_eq!(derivation_path(&format!("m{}", "/1".repeat(11))), None);
    }
}
