//! Where the passphrase of the sealed files comes from: a person, a file, or standard input.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::PathBuf,
};

use zeroize::Zeroizing;

use super::VaultError;
use crate::wallet::files::open_input;

/// The longest passphrase, in bytes.
const MAX_PASSPHRASE: usize = 1024;

/// What a person is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The passphrase of the vault.
    Unlock,
    /// The same, after a wrong answer.
    UnlockAgain,
    /// A passphrase for a vault that is being made.
    Choose,
    /// The chosen one once more, against typing errors.
    Repeat,
    /// The passphrase of a keystore that is being imported.
    Import,
}

/// Asks a person. The terminal front ends bring their own; it may block, and answers [`VaultError::Cancelled`] when the
/// person does not want to.
pub trait AskPassphrase: Send + Sync {
    fn ask(&self, question: Question) -> Result<Zeroizing<String>, VaultError>;
}

/// One of the three ways to get the passphrase.
pub enum PassphraseSource {
    Prompt(Box<dyn AskPassphrase>),
    /// The first line of a file.
    File(PathBuf),
    /// The first line of standard input; the rest is left for others to read.
    StandardInput,
}

impl PassphraseSource {
    /// `--passphrase-file`: nothing means a prompt on the terminal, `-` standard input.
    pub fn from_argument(argument: Option<&str>) -> Self {
        match argument {
            None => Self::Prompt(Box::new(TerminalPrompt)),
            Some("-") => Self::StandardInput,
            Some(path) => Self::File(path.into()),
        }
    }

    /// A person may answer anew; a file says the same thing again.
    pub fn can_be_asked_again(&self) -> bool {
        matches!(self, Self::Prompt(_))
    }

    /// Never empty.
    pub fn ask(&self, question: Question) -> Result<Zeroizing<String>, VaultError> {
        let text = match self {
            Self::Prompt(prompt) => prompt.ask(question)?,
            Self::File(path) => {
                let file = open_input(path).map_err(|e| VaultError::io("read the passphrase from", path, e))?;
                first_line(file, &format!("the passphrase file {}", path.display()))?
            }
            Self::StandardInput => {
                let input = unbuffered_stdin().map_err(|e| unreadable("standard input", e))?;
                first_line(input, "standard input")?
            }
        };
        if text.is_empty() { Err(VaultError::EmptyPassphrase) } else { Ok(text) }
    }

    /// A passphrase for a new vault: a person types it twice.
    pub fn choose(&self) -> Result<Zeroizing<String>, VaultError> {
        let chosen = self.ask(Question::Choose)?;
        if let Self::Prompt(prompt) = self
            && *prompt.ask(Question::Repeat)? != *chosen
        {
            return Err(VaultError::PassphrasesDiffer);
        }
        Ok(chosen)
    }
}

/// Asks on the controlling terminal, without echo.
pub struct TerminalPrompt;

impl AskPassphrase for TerminalPrompt {
    fn ask(&self, question: Question) -> Result<Zeroizing<String>, VaultError> {
        if !io::stdin().is_terminal() && !io::stderr().is_terminal() {
            return Err(VaultError::NoPassphrase("there is no terminal to ask on".into()));
        }
        let text = match question {
            Question::Unlock => "Passphrase of the vault: ",
            Question::UnlockAgain => "Wrong passphrase. Passphrase of the vault: ",
            Question::Choose => "Choose a passphrase for the vault (there is no way to recover it): ",
            Question::Repeat => "The same passphrase again: ",
            Question::Import => "Passphrase of the keystore: ",
        };
        rpassword::prompt_password(text)
            .map(Zeroizing::new)
            .map_err(|e| VaultError::NoPassphrase(format!("the terminal did not give it ({e})")))
    }
}

/// Byte by byte into one buffer that is wiped: a buffered reader would keep a copy, and swallow what follows the line.
fn first_line(mut source: impl Read, name: &str) -> Result<Zeroizing<String>, VaultError> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE));
    let mut byte = Zeroizing::new([0u8; 1]);
    loop {
        let got = match source.read(byte.as_mut_slice()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            got => got.map_err(|e| unreadable(name, e))?,
        };
        if got == 0 || *byte == [b'\n'] {
            break;
        }
        if line.len() == MAX_PASSPHRASE {
            return Err(VaultError::NoPassphrase(format!(
                "the first line of {name} is longer than {MAX_PASSPHRASE} bytes"
            )));
        }
        line.extend_from_slice(byte.as_slice());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    let text = std::str::from_utf8(&line).map_err(|_| VaultError::NoPassphrase(format!("{name} is not UTF-8 text")))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn unreadable(name: &str, error: io::Error) -> VaultError {
    VaultError::NoPassphrase(format!("{name} could not be read ({error})"))
}

/// Standard input past the buffer of the standard library, which is never wiped.
pub fn unbuffered_stdin() -> io::Result<File> {
    #[cfg(unix)]
    let handle = std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned();
    #[cfg(windows)]
    let handle = std::os::windows::io::AsHandle::as_handle(&io::stdin()).try_clone_to_owned();
    handle.map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_passphrase_is_the_first_line_and_the_rest_is_left() {
        let mut input: &[u8] = b"correct horse \r\nnext";
        assert_eq!(*first_line(&mut input, "it").unwrap(), "correct horse ");
        assert_eq!(input, b"next");
        assert_eq!(*first_line(&b"no newline"[..], "it").unwrap(), "no newline");
    }

    #[test]
    fn what_cannot_be_a_passphrase_is_refused() {
        let long = vec![b'x'; 5000];
        assert!(first_line(long.as_slice(), "it").unwrap_err().to_string().contains("longer"));
        assert!(first_line(&b"\xff\xfe"[..], "it").unwrap_err().to_string().contains("UTF-8"));
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty");
        std::fs::write(&empty, "\n").unwrap();
        assert!(matches!(PassphraseSource::File(empty).ask(Question::Unlock), Err(VaultError::EmptyPassphrase)));
    }
}
