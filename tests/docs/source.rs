//! As much of Rust as it takes to find calls and their string arguments: comments and literals are told apart from code.

/// A piece of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A name, keyword or number.
    Word(String),
    /// A string literal, with its escapes resolved as far as a message needs.
    Text(String),
    Sign(char),
}

impl Token {
    pub fn is(&self, sign: char) -> bool {
        *self == Self::Sign(sign)
    }

    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The tokens of a file, without comments, and without the modules that are only compiled for tests.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut chars = source.chars().peekable();
    let mut found = Vec::new();
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => while chars.next_if(|c| *c != '\n').is_some() {},
            '"' => found.push(Token::Text(text(&mut chars))),
            'r' if matches!(chars.peek(), Some('"' | '#')) => {
                let mut hashes = 0;
                while chars.next_if_eq(&'#').is_some() {
                    hashes += 1;
                }
                if chars.next_if_eq(&'"').is_some() {
                    found.push(Token::Text(raw_text(&mut chars, hashes)));
                }
            }
            '\'' => character(&mut chars),
            c if c.is_alphanumeric() || c == '_' => {
                let mut word = c.to_string();
                while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                found.push(Token::Word(word));
            }
            c if c.is_whitespace() => {}
            c => found.push(Token::Sign(c)),
        }
    }
    without_tests(found)
}

fn text(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                Some(c) => text.push(c),
                None => {}
            },
            c => text.push(c),
        }
    }
    text
}

fn raw_text(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, hashes: usize) -> String {
    let end = format!("\"{}", "#".repeat(hashes));
    let mut text = String::new();
    for c in chars.by_ref() {
        text.push(c);
        if text.ends_with(&end) {
            text.truncate(text.len() - end.len());
            break;
        }
    }
    text
}

/// Behind a quote: a character, which may be a quotation mark, or a lifetime.
fn character(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    let mut ahead = chars.clone();
    match (ahead.next(), ahead.next()) {
        (Some('\\'), _) => {
            chars.next();
            chars.next();
            while chars.next().is_some_and(|c| c != '\'') {}
        }
        (Some(_), Some('\'')) => {
            chars.next();
            chars.next();
        }
        _ => {}
    }
}

/// Leaves out `#[cfg(test)] mod … { … }`.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let marker = [
        Token::Sign('#'),
        Token::Sign('['),
        Token::Word("cfg".into()),
        Token::Sign('('),
        Token::Word("test".into()),
        Token::Sign(')'),
        Token::Sign(']'),
        Token::Word("mod".into()),
    ];
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if !tokens[at..].starts_with(&marker) {
            kept.push(token.clone());
            at += 1;
            continue;
        }
        let body = at + marker.len() + 1;
        at = match tokens.get(body) {
            Some(open) if open.is('{') => closing(&tokens, body) + 1,
            _ => body + 1,
        };
    }
    kept
}

/// Where the bracket that opens at `open` is closed.
pub fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    panic!("a bracket is never closed: {:?}", &tokens[open..tokens.len().min(open + 20)]);
}

/// The arguments of a call whose parenthesis opens at `open`.
pub fn arguments(tokens: &[Token], open: usize) -> Vec<&[Token]> {
    let end = closing(tokens, open);
    let mut found = Vec::new();
    let (mut start, mut at) = (open + 1, open + 1);
    while at < end {
        match &tokens[at] {
            Token::Sign('(' | '[' | '{') => at = closing(tokens, at),
            Token::Sign(',') => {
                found.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    if start < end {
        found.push(&tokens[start..end]);
    }
    found
}

/// The bodies of functions: where each begins and ends.
pub fn functions(tokens: &[Token]) -> Vec<(String, std::ops::Range<usize>)> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        if tokens[at].word() != Some("fn") {
            continue;
        }
        let Some(name) = tokens.get(at + 1).and_then(Token::word) else { continue };
        // Up to the body; a declaration without one ends with a semicolon.
        let mut body = at;
        let open = loop {
            match tokens.get(body) {
                Some(Token::Sign('{')) => break Some(body),
                Some(Token::Sign(';')) | None => break None,
                Some(Token::Sign('(' | '[')) => body = closing(tokens, body) + 1,
                Some(_) => body += 1,
            }
        };
        if let Some(open) = open {
            found.push((name.to_owned(), open..closing(tokens, open) + 1));
        }
    }
    found
}

#[test]
fn calls_are_read_as_the_compiler_reads_them() {
    let source = r##"
        // Error::usage("not.this", "a comment")
        fn a<'a>(x: &'a str) -> [u8; 2] {
            let quote = '"';
            Error::new(Class::Chain, "chain.x", format!("{x}, and \
                more, {}", f(1, 2)));
            r#"raw "text""#
        }
        #[cfg(test)]
        mod tests { fn b() { Error::usage("not.that", "a test") } }
        fn c();
    "##;
    let tokens = tokens(source);
    let texts: Vec<&str> = tokens.iter().filter_map(Token::text).collect();
    assert_eq!(texts, ["chain.x", "{x}, and more, {}", "raw \"text\""]);
    let open = tokens.iter().position(|t| t.word() == Some("new")).unwrap() + 1;
    assert_eq!(arguments(&tokens, open).len(), 3);
    let functions: Vec<String> = functions(&tokens).into_iter().map(|(name, _)| name).collect();
    assert_eq!(functions, ["a"]);
}
