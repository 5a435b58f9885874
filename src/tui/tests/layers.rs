//! Who may know whom in the front end, read from its source: nothing goes round in a circle, no screen knows another, and one
//! file touches the wallet.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// A source file as the module that it is: `screen::home`, and what it says without its comments and tests.
struct Source {
    module: Vec<String>,
    code: String,
}

fn sources(folder: &Path, module: &[String], found: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut inner = module.to_vec();
        if name == "tests" {
            continue;
        }
        if name != "mod" {
            inner.push(name);
        }
        if path.is_dir() {
            sources(&path, &inner, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let (code, _tests) = text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((&text, ""));
        let lines = code.lines().filter(|l| !l.trim_start().starts_with("//"));
        found.push(Source { module: inner, code: lines.collect::<Vec<_>>().join("\n") });
    }
}

fn all() -> Vec<Source> {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tui"), &[], &mut found);
    found
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d` and `a::c::e`.
fn expand(tree: &str, before: &str, out: &mut Vec<String>) {
    let (mut depth, mut from) = (0, 0);
    let ends = tree.char_indices().chain([(tree.len(), ',')]);
    for (i, c) in ends {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let piece = tree[from..i].trim();
                from = i + 1;
                match piece.split_once('{') {
                    Some((path, inner)) => {
                        expand(inner.trim_end().trim_end_matches('}'), &format!("{before}{path}"), out);
                    }
                    None if piece.is_empty() => {}
                    None => out.push(format!("{before}{piece}")),
                }
            }
            _ => {}
        }
    }
}

/// The modules of the front end that the source names, from its root: `screen::rows::failure_rows`.
fn named(source: &Source) -> BTreeSet<Vec<String>> {
    let mut paths = Vec::new();
    let mut rest = source.code.as_str();
    while let Some(at) = rest.find("use ") {
        let starts = rest[..at].ends_with('\n') || rest[..at].ends_with(' ') || at == 0;
        rest = &rest[at + 4..];
        if let Some((tree, after)) = rest.split_once(';').filter(|_| starts) {
            // A closing brace that was split off its opening one is no tree.
            if tree.matches('{').count() == tree.matches('}').count() {
                expand(&tree.split_whitespace().collect::<Vec<_>>().join(" "), "", &mut paths);
                rest = after;
            }
        }
    }
    // Paths that are written out where they are needed.
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    paths.extend(source.code.split(|c| !is_path(c)).filter(|w| w.contains("::")).map(str::to_owned));
    let mut named = BTreeSet::new();
    for path in paths {
        let mut steps = path.split("::").map(str::trim).peekable();
        let mut at = match steps.peek() {
            Some(&"crate") => {
                steps.next();
                if steps.next() != Some("tui") {
                    continue;
                }
                Vec::new()
            }
            Some(&"super" | &"self") => source.module.clone(),
            _ => continue,
        };
        for step in steps {
            match step {
                "super" => drop(at.pop()),
                "self" => {}
                step => at.push(step.split(' ').next().unwrap_or(step).to_owned()),
            }
        }
        named.insert(at);
    }
    named
}

/// Whether one gets from `from` back to it.
fn circle(graph: &BTreeMap<String, BTreeSet<String>>, from: &str) -> bool {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![from]);
    while let Some(at) = todo.pop() {
        for next in graph.get(at).into_iter().flatten() {
            if next == from {
                return true;
            }
            if seen.insert(next) {
                todo.push(next);
            }
        }
    }
    false
}

/// Which parts of the front end know which. The root has the loop, and knows all of them.
fn graph(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let parts: BTreeSet<&String> = sources.iter().filter_map(|s| s.module.first()).collect();
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let Some(part) = source.module.first() else { continue };
        let known = named(source).into_iter().filter_map(|path| path.into_iter().next());
        let known = known.filter(|k| k != part && parts.contains(k));
        graph.entry(part.clone()).or_default().extend(known);
    }
    graph
}

#[test]
fn no_part_knows_itself_through_others() {
    let graph = graph(&all());
    assert!(graph["app"].contains("screen") && graph["screen"].contains("message"), "nothing was read: {graph:?}");
    let round: Vec<&String> = graph.keys().filter(|part| circle(&graph, part)).collect();
    assert!(round.is_empty(), "in a circle: {round:?}\n{graph:#?}");
}

#[test]
fn a_circle_is_found() {
    let source = |name: &str, code: &str| Source { module: vec![name.to_owned()], code: code.to_owned() };
    let sources = [
        source("app", "use super::{\n    message::Msg,\n    screen::{Screen, help},\n};\n"),
        source("screen", "fn draw(model: &crate::tui::app::Model) {}\n"),
        source("message", "use crate::wallet::app;\n"),
    ];
    let graph = graph(&sources);
    assert!(circle(&graph, "app") && circle(&graph, "screen") && !circle(&graph, "message"), "{graph:?}");
}

#[test]
fn no_screen_knows_another() {
    let sources = all();
    let routes = sources.iter().find(|s| s.module == ["screen", "routes"]).unwrap();
    let in_screen = |path: Vec<String>| path.get(1).filter(|_| path[0] == "screen").cloned();
    let screens: BTreeSet<String> = named(routes)
        .into_iter()
        .filter_map(in_screen)
        .filter(|n| sources.iter().any(|s| s.module.get(1) == Some(n) && s.module[0] == "screen"))
        .collect();
    assert!(screens.contains("home") && screens.contains("wizard"), "{screens:?}");
    for source in sources.iter().filter(|s| s.module.first().is_some_and(|m| m == "screen") && s.module.len() > 1) {
        let own = &source.module[1];
        let known: Vec<String> = named(source).into_iter().filter_map(in_screen).collect();
        let others: Vec<&String> = known.iter().filter(|n| *n != own && screens.contains(*n)).collect();
        assert!(own == "routes" || others.is_empty(), "{own} knows {others:?}");
    }
}

#[test]
fn only_the_runner_touches_the_wallet() {
    let touches = |s: &Source| s.code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "Wallet");
    let who: Vec<String> = all().iter().filter(|s| touches(s)).map(|s| s.module.join("::")).collect();
    assert_eq!(who, ["runner"]);
}
