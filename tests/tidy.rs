//! Holds the house: what may import what, how long things may be, what they are called, what never stands in
//! them. Every message names the place and says what to do.
//!
//! Each rule is a function from a path and its text to findings, so that the tests at the end can show that it
//! finds what it must find and lets pass what it must let pass.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// The rooms in reading order, each with what it may import: rooms that stand above it, or only a path in one.
/// Because a room may list earlier rooms alone, a cycle cannot be written down here.
const ROOMS: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("signal", &[]),
    ("error", &[]),
    ("config", &["units"]),
    ("api", &["units", "error"]),
    ("dialects", &["units", "error", "config", "api"]),
    ("telemetry", &["units", "error", "config", "api"]),
    ("stream", &["units", "error", "api", "signal", "telemetry"]),
    ("accounting", &["units", "error", "config", "telemetry"]),
    ("routing", &["units", "error", "config"]),
    ("reactor", &["units", "error", "config", "telemetry", "signal"]),
    ("server", &["units", "error", "config", "telemetry", "reactor", "signal"]),
    ("upstream", &["units", "config", "telemetry", "reactor", "signal"]),
    // On the control thread: of the reactor only what TLS trusts.
    ("credentials", &["units", "error", "config", "telemetry", "reactor::tls"]),
    // Could be a program of its own, and is the upstream of tests: it must not share the gateway's mistakes.
    ("demo", &[]),
    ("middleware", &["units", "error", "config", "api", "telemetry", "stream", "accounting", "server"]),
    (
        "gateway",
        &[
            "units",
            "signal",
            "error",
            "config",
            "api",
            "dialects",
            "telemetry",
            "stream",
            "accounting",
            "routing",
            // What a connection to an upstream is secured with, and the door for what outlives its client: nothing else of
            // the reactor.
            "reactor::tls",
            "reactor::spawn",
            "server",
            "upstream",
            "credentials",
            "middleware",
        ],
    ),
    ("admin", &["telemetry"]),
    (
        "app",
        &[
            "units",
            "signal",
            "error",
            "config",
            "api",
            "dialects",
            "telemetry",
            "stream",
            "accounting",
            "routing",
            "reactor",
            "server",
            "upstream",
            "credentials",
            "demo",
            "middleware",
            "gateway",
            "admin",
        ],
    ),
    ("cli", &["config", "app"]),
];

/// Production lines of a file: those outside `#[cfg(test)] mod`.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 80;

/// Where a length may be exceeded: (file, function or "" for the whole file, reason). An entry that is not
/// needed any more is a finding itself.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Last words of names that say nothing about what the thing is.
const EMPTY_NAMES: &[&str] = &[
    "util",
    "utils",
    "helper",
    "helpers",
    "common",
    "manager",
    "handler",
    "handlers",
    "processor",
    "types",
    "misc",
    "data",
    "context",
];

/// Where `unsafe` may stand: where memory is shared with the kernel, for the one instruction that asks for memory, and
/// for the name under which jemalloc looks for its settings.
const UNSAFE_PLACES: &[&str] = &["src/main.rs", "src/reactor/uring/", "src/reactor/warm.rs"];

/// Files that may block a thread: they wait for a foreign program, which does not say when it is ready.
const MAY_SLEEP: &[&str] = &["benches/relay/peer/mod.rs", "benches/relay/process.rs"];

/// Folders of the machine that somebody wrote this on. In pieces, because this file is searched too.
const MACHINE_FOLDERS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/t", "mp/"),
];

// ---------------------------------------------------------------------------------------------- findings

#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

fn finding(file: &str, line: usize, message: impl Into<String>) -> Finding {
    Finding { file: file.to_owned(), line, message: message.into() }
}

fn expect_none(findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "the house is untidy:\n  {}\n", lines.join("\n  "));
}

// ------------------------------------------------------------------------------------------------ files

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the project, by its path from the root: what git tracks or would track. Without git (a
/// packaged crate), every file outside `target`.
fn project_files() -> Vec<(String, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .ok()
        .filter(|output| output.status.success() && !output.stdout.is_empty());
    let mut paths = BTreeSet::new();
    match listed {
        Some(output) => {
            paths.extend(String::from_utf8_lossy(&output.stdout).split('\0').map(str::to_owned));
        }
        None => walk(root(), "", &mut paths),
    }
    let read = |path: String| fs::read_to_string(root().join(&path)).ok().map(|text| (path, text));
    paths.into_iter().filter(|path| !path.is_empty()).filter_map(read).collect()
}

fn walk(folder: &Path, prefix: &str, paths: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let entry = entry.expect("the entry can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().expect("the type can be read").is_dir();
        if is_folder && !["target", ".git", "node_modules", ".venv", "__pycache__"].contains(&name.as_str()) {
            walk(&entry.path(), &format!("{prefix}{name}/"), paths);
        } else if !is_folder {
            paths.insert(format!("{prefix}{name}"));
        }
    }
}

/// The Rust files below the given folders.
fn rust_files(folders: &[&str]) -> Vec<(String, String)> {
    let files: Vec<_> = project_files()
        .into_iter()
        .filter(|(path, _)| {
            path.rsplit('.').next() == Some("rs") && folders.iter().any(|folder| path.starts_with(folder))
        })
        .collect();
    assert!(!files.is_empty(), "no Rust file below {folders:?}: the rules would hold for nothing");
    files
}

/// Whether the file holds tests alone.
fn is_test_file(path: &str) -> bool {
    static DECLARED: OnceLock<BTreeSet<String>> = OnceLock::new();
    let declared = || rust_files(&["src/"]).iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || path.starts_with("tests/")
        || DECLARED.get_or_init(declared).contains(path)
}

/// The files that a `mod.rs` declares with `#[cfg(test)] mod …;`.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let Some(folder) = path.strip_suffix("mod.rs") else { return Vec::new() };
    let tokens = tokens_of(&code_of(text));
    let words: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let after_marks = words.windows(TEST_MARK.len()).enumerate().filter(|(_, words)| *words == TEST_MARK);
    let declared = after_marks.filter_map(|(at, _)| {
        let rest = &words[at + TEST_MARK.len()..];
        let declaration = &rest[..rest.iter().position(|word| [";", "{"].contains(word))?];
        let name = declaration.iter().position(|word| *word == "mod")? + 1;
        (rest.get(declaration.len()) == Some(&";")).then(|| format!("{folder}{}.rs", rest[name]))
    });
    declared.collect()
}

/// What marks an item as one of tests.
const TEST_MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

/// The room a source file belongs to; `None` for `lib.rs` and `main.rs`.
fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    match inside.split_once('/') {
        Some((room, _)) => Some(room),
        None => inside.strip_suffix(".rs").filter(|room| !["lib", "main"].contains(room)),
    }
}

// ----------------------------------------------------------------------------------------------- lexing

/// The text with comments and the insides of literals blanked, line breaks kept, so that every position and
/// line number stays what it was.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = blank_end(&chars, at);
        if end > at {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            code.push(chars[at]);
            at += 1;
        }
    }
    code
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none does.
fn blank_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => line_end(chars, at),
        '/' if next == Some('*') => block_comment_end(chars, at),
        '"' => string_end(chars, at + 1),
        'r' if !word_before(chars, at) || byte_prefix(chars, at) => raw_string_end(chars, at),
        '\'' if next == Some('\\') => string_until(chars, at + 2, '\''),
        '\'' if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

fn word_before(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn byte_prefix(chars: &[char], at: usize) -> bool {
    at > 0 && matches!(chars[at - 1], 'b' | 'c') && !word_before(chars, at - 1)
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| at + length)
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut end) = (0_usize, at);
    while end < chars.len() {
        match (chars[end], chars.get(end + 1)) {
            ('/', Some('*')) => (depth, end) = (depth + 1, end + 2),
            ('*', Some('/')) => (depth, end) = (depth - 1, end + 2),
            _ => end += 1,
        }
        if depth == 0 {
            return end;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut end = from;
    while end < chars.len() {
        match chars[end] {
            '\\' => end += 2,
            '"' => return end + 1,
            _ => end += 1,
        }
    }
    chars.len()
}

/// The end of a literal whose escape begins before `from`: the character there belongs to the escape.
fn string_until(chars: &[char], from: usize, quote: char) -> usize {
    let rest = chars.get(from + 1..).unwrap_or_default();
    rest.iter().position(|c| *c == quote).map_or(chars.len(), |length| from + length + 2)
}

fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let mut end = at + hashes + 2;
    while end < chars.len() {
        let closes =
            chars[end] == '"' && chars[end + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        if closes {
            return end + 1 + hashes;
        }
        end += 1;
    }
    chars.len()
}

/// A word or a single other character, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

fn tokens_of(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut word = String::new();
        for c in line.chars().chain([' ']) {
            if c.is_alphanumeric() || c == '_' {
                word.push(c);
                continue;
            }
            if !word.is_empty() {
                tokens.push(Token { text: std::mem::take(&mut word), line: index + 1 });
            }
            if !c.is_whitespace() {
                tokens.push(Token { text: c.to_string(), line: index + 1 });
            }
        }
    }
    tokens
}

fn is_word(token: &Token) -> bool {
    token.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The lines (first, last) of `#[cfg(test)] mod … { … }` blocks.
fn test_blocks(tokens: &[Token]) -> Vec<(usize, usize)> {
    let mut blocks = Vec::new();
    for start in 0..tokens.len() {
        let marked = tokens[start..].iter().map(|token| token.text.as_str()).take(TEST_MARK.len()).eq(TEST_MARK);
        if !marked {
            continue;
        }
        let after = &tokens[start + TEST_MARK.len()..];
        let Some(open) = after.iter().position(|token| matches!(token.text.as_str(), "{" | ";")) else { continue };
        let is_mod = after[..open].iter().any(|token| token.text == "mod");
        if is_mod && after[open].text == "{" {
            blocks.push((tokens[start].line, closing_line(&after[open..])));
        }
    }
    blocks
}

/// The line of the brace that closes the one at the beginning of `tokens`.
fn closing_line(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for token in tokens {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return token.line;
        }
    }
    tokens.last().map_or(0, |token| token.line)
}

fn inside(blocks: &[(usize, usize)], line: usize) -> bool {
    blocks.iter().any(|(first, last)| (*first..=*last).contains(&line))
}

/// A path as written, its groups taken apart: `crate::{a::b, c::*}` is `[crate, a, b]` and `[crate, c, *]`.
#[derive(Debug, PartialEq, Eq)]
struct PathUse {
    segments: Vec<String>,
    line: usize,
}

/// Every path that begins with one of `roots`, in `use` declarations and in expressions.
fn paths_from(tokens: &[Token], roots: &[&str]) -> Vec<PathUse> {
    let mut paths = Vec::new();
    for start in 0..tokens.len() {
        let continues_a_path = start >= 2 && tokens[start - 1].text == ":" && tokens[start - 2].text == ":";
        // `::std::env` begins with the separator; a path that goes on has a word or `>` before it.
        let goes_on =
            continues_a_path && start >= 3 && (is_word(&tokens[start - 3]) || tokens[start - 3].text == ">");
        if roots.contains(&tokens[start].text.as_str()) && !(goes_on && tokens[start - 3].text != "use") {
            read_path(tokens, start, &[], &mut paths);
        }
    }
    paths.retain(|path| path.segments.len() > 1);
    paths
}

/// Reads the path tree at `at` and returns the position after it.
fn read_path(tokens: &[Token], mut at: usize, prefix: &[String], paths: &mut Vec<PathUse>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let Some(line) = tokens.get(at).map(|token| token.line) else { return at };
    let mut segments = prefix.to_vec();
    loop {
        match text(at) {
            "{" => {
                at += 1;
                while !matches!(text(at), "}" | "") {
                    let before = at;
                    at = read_path(tokens, at, &segments, paths);
                    while !matches!(text(at), "," | "}" | "") {
                        at += 1;
                    }
                    at += usize::from(text(at) == ",");
                    assert!(at > before, "a path tree is read to its end");
                }
                return at + 1;
            }
            "*" => segments.push("*".to_owned()),
            _ if tokens.get(at).is_some_and(is_word) => segments.push(text(at).to_owned()),
            _ => break,
        }
        at += 1;
        if text(at) == ":" && text(at + 1) == ":" {
            at += 2;
        } else {
            break;
        }
    }
    paths.push(PathUse { segments, line });
    at
}

// ------------------------------------------------------------------------------------------------ rules

/// (a) Imports point up the table.
fn imports(path: &str, text: &str) -> Vec<Finding> {
    if is_test_file(path) {
        return Vec::new();
    }
    let tokens = tokens_of(&code_of(text));
    let Some(room) = room_of(path) else { return root_imports(path, text, &tokens) };
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        let remedy = "put it into the table in tests/tidy.rs, in reading order, and into ARCHITECTURE.md";
        return vec![finding(path, 1, format!("`{room}` is no known room; {remedy}"))];
    };
    let mut findings = Vec::new();
    for used in paths_from(&tokens, &["crate"]) {
        findings.extend(import(path, room, allowed, &used.segments[1..], used.line));
    }
    // In a room's own root, outside its inline modules, `super` is the crate.
    let is_room_root = path == format!("src/{room}.rs") || path == format!("src/{room}/mod.rs");
    let blocks = test_blocks(&tokens);
    for used in paths_from(&tokens, &["super"]) {
        if used.segments[1] == "super" {
            findings.push(finding(
                path,
                used.line,
                "`super::super::` hides what is imported; write `crate::room::…`",
            ));
        } else if is_room_root
            && !inside(&blocks, used.line)
            && ROOMS.iter().any(|(name, _)| *name == used.segments[1])
        {
            findings.extend(import(path, room, allowed, &used.segments[1..], used.line));
        }
    }
    findings
}

/// Judges one path below `crate::`.
fn import(path: &str, room: &str, allowed: &[&str], target: &[String], line: usize) -> Option<Finding> {
    let written = target.join("::");
    if target[0] == room {
        return None;
    }
    if target.last().is_some_and(|last| last == "*") {
        let remedy = "name what is used, so that the direction of imports can be read";
        return Some(finding(path, line, format!("glob import `crate::{written}` across rooms; {remedy}")));
    }
    let permitted = allowed.iter().any(|allowed| {
        let allowed: Vec<&str> = allowed.split("::").collect();
        target.len() >= allowed.len() && allowed.iter().zip(target).all(|(allowed, used)| allowed == used)
    });
    if permitted {
        return None;
    }
    let allowed = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
    let remedy = "move the item up the house, or pass the value in from a room that may know both";
    Some(finding(path, line, format!("`{room}` may not import `crate::{written}` (only {allowed}); {remedy}")))
}

/// `lib.rs` declares rooms in the table's order and nothing else; `main.rs` knows the command line alone.
fn root_imports(path: &str, text: &str, tokens: &[Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if path == "src/main.rs" {
        for used in paths_from(tokens, &["millstream"]) {
            if used.segments[1] != "cli" {
                let message = format!("main may only call `millstream::cli`, not `{}`", used.segments.join("::"));
                findings.push(finding(
                    path,
                    used.line,
                    format!("{message}; move the code into the room it belongs to"),
                ));
            }
        }
        return findings;
    }
    let mut declared = Vec::new();
    for (index, line) in code_of(text).lines().enumerate() {
        let line = line.trim();
        let name =
            line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod ")).and_then(|l| l.strip_suffix(';'));
        match name {
            Some(name) => declared.push(name.to_owned()),
            None if line.is_empty() || line.starts_with("#!") => {}
            None => {
                let message = "lib.rs holds `mod` lines only: a re-export at the root hides which room is used";
                findings.push(finding(path, index + 1, format!("{message}; move `{line}` into a room")));
            }
        }
    }
    let table: Vec<String> = ROOMS.iter().map(|(room, _)| (*room).to_owned()).collect();
    if declared != table {
        let message =
            format!("rooms are declared as {declared:?}, the table says {table:?}; use the reading order");
        findings.push(finding(path, 1, message));
    }
    findings
}

/// (b) Lengths, with the exceptions that were needed.
fn sizes<'e>(path: &str, text: &str, exceptions: &'e [(&str, &str, &str)]) -> (Vec<Finding>, Vec<&'e str>) {
    let (mut findings, mut used) = (Vec::new(), Vec::new());
    if is_test_file(path) {
        return (findings, used);
    }
    let tokens = tokens_of(&code_of(text));
    let blocks = test_blocks(&tokens);
    let mut judge = |name: &str, line: usize, lines: usize, max: usize, remedy: &str| {
        if lines <= max {
            return;
        }
        let what = if name.is_empty() { "the file".to_owned() } else { format!("`{name}`") };
        match exceptions.iter().find(|(file, item, _)| *file == path && *item == name) {
            Some((_, _, reason)) => used.push(*reason),
            None => findings.push(finding(
                path,
                line,
                format!("{what} has {lines} lines, {max} are allowed; {remedy}"),
            )),
        }
    };
    let production = (1..=text.lines().count()).filter(|line| !inside(&blocks, *line)).count();
    judge("", 1, production, FILE_LINES_MAX, "split it where one idea ends and the next begins");
    for (name, first, last) in functions(&tokens) {
        if !inside(&blocks, first) {
            judge(&name, first, last - first + 1, FUNCTION_LINES_MAX, "give a step of it a name of its own");
        }
    }
    (findings, used)
}

/// Name, first and last line of every function that has a body.
fn functions(tokens: &[Token]) -> Vec<(String, usize, usize)> {
    let mut functions = Vec::new();
    for (index, pair) in tokens.windows(2).enumerate() {
        if pair[0].text != "fn" || !is_word(&pair[1]) {
            continue;
        }
        let mut depth = 0_i32;
        for (offset, token) in tokens[index..].iter().enumerate() {
            match token.text.as_str() {
                "(" | "[" => depth += 1,
                ")" | "]" => depth -= 1,
                ";" if depth == 0 => break,
                "{" if depth == 0 => {
                    functions.push((pair[1].text.clone(), pair[0].line, closing_line(&tokens[index + offset..])));
                    break;
                }
                _ => {}
            }
        }
    }
    functions
}

/// (c) Every source file says what it is for.
fn heading(path: &str, text: &str) -> Vec<Finding> {
    if text.starts_with("//! ") {
        return Vec::new();
    }
    vec![finding(path, 1, "a file begins with `//! ` and one sentence on what it is for; write it")]
}

/// (d) `unsafe` stays in its places.
fn unsafety(path: &str, text: &str) -> Vec<Finding> {
    if UNSAFE_PLACES.iter().any(|place| path.starts_with(place)) {
        return Vec::new();
    }
    let tokens = tokens_of(&code_of(text));
    let hits = tokens.iter().filter(|token| token.text == "unsafe");
    hits.map(|token| {
        let remedy = "use a safe interface (rustix, socket2), or move it there with its safety argument";
        finding(path, token.line, format!("`unsafe` outside {UNSAFE_PLACES:?}; {remedy}"))
    })
    .collect()
}

/// (e) Names say what a thing is.
fn names(path: &str, text: &str) -> Vec<Finding> {
    let remedy = "name it after what it holds or does";
    let mut findings = Vec::new();
    let stems = path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
    for stem in stems.filter(|stem| is_empty_name(stem)) {
        findings.push(finding(path, 1, format!("`{stem}` says nothing about the file; {remedy}")));
    }
    for (index, line) in code_of(text).lines().enumerate() {
        let words: Vec<Token> = tokens_of(line).into_iter().filter(is_word).collect();
        for pair in words.windows(2) {
            // An associated type is named by its trait: `type Data` of `http_body::Body`, `type Context`.
            let own_alias =
                pair[0].text == "type" && (line.starts_with("type ") || line.trim().starts_with("pub"));
            let declares =
                own_alias || ["struct", "enum", "trait", "union", "mod"].contains(&pair[0].text.as_str());
            if declares && is_empty_name(&pair[1].text) {
                findings.push(finding(path, index + 1, format!("`{}` is an empty name; {remedy}", pair[1].text)));
            }
        }
    }
    findings
}

/// Whether the last word of a `snake_case` or `CamelCase` name is one of [`EMPTY_NAMES`].
fn is_empty_name(name: &str) -> bool {
    let last = name.rsplit('_').next().unwrap_or(name);
    let camel = last.rfind(char::is_uppercase).map_or(last, |at| &last[at..]);
    EMPTY_NAMES.contains(&camel.to_lowercase().as_str())
}

/// (f) What never stands in code.
fn words(path: &str, text: &str) -> Vec<Finding> {
    let code = code_of(text);
    let in_src = path.starts_with("src/");
    let in_cli = path == "src/cli.rs" || path.starts_with("src/cli/");
    let notes = [concat!("FIX", "ME"), concat!("XX", "X")];
    let mut banned = vec![
        ("todo!", "write it, or leave it out and say so in the README"),
        ("unimplemented!", "write it, or leave it out and say so in the README"),
        ("dbg!", "use `tracing`, or remove it"),
        ("#[ignore", "a test that is not run proves nothing: make it fast and certain, or remove it"),
    ];
    if !MAY_SLEEP.contains(&path) {
        banned.push(("thread::sleep", "wait for the event itself, or use `tokio::time` under a paused clock"));
    }
    if in_src && !in_cli {
        banned.push(("eprintln!", "only `cli` prints; use `tracing`"));
        banned.push(("eprint!", "only `cli` prints; use `tracing`"));
    }
    if !in_cli && !path.starts_with("benches/") {
        banned.push(("println!", "only `cli` prints; use `tracing`"));
        banned.push(("print!", "only `cli` prints; use `tracing`"));
    }
    let mut findings = Vec::new();
    for (index, (code, line)) in code.lines().zip(text.lines()).enumerate() {
        for (word, remedy) in banned.iter().filter(|(word, _)| holds_word(code, word)) {
            findings.push(finding(path, index + 1, format!("`{word}` in code; {remedy}")));
        }
        for note in notes.iter().filter(|note| line.contains(**note)) {
            findings.push(finding(
                path,
                index + 1,
                format!("`{note}`: finish it, or say in the README what is open"),
            ));
        }
    }
    if in_src && !in_cli && path != "src/config/env.rs" && !is_test_file(path) {
        let used = paths_from(&tokens_of(&code), &["std"]).into_iter().filter(|used| used.segments[1] == "env");
        findings.extend(used.map(|used| {
            finding(
                path,
                used.line,
                "`std::env` outside config/env.rs and cli; read it there and pass the value on",
            )
        }));
    }
    findings
}

/// Whether `word` stands in `code` and is not the end of a longer word.
fn holds_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// (g) The map of the house knows every room.
fn map(text: &str) -> Vec<Finding> {
    let known = |room: &str| {
        [
            format!("`{room}`"),
            format!("`{room}/"),
            format!("`{room}::"),
            format!("`{room}.rs"),
            format!("src/{room}"),
        ]
        .iter()
        .any(|form| text.contains(form))
    };
    let missing = ROOMS.iter().filter(|(room, _)| !known(room));
    missing
        .map(|(room, _)| finding("ARCHITECTURE.md", 1, format!("room `{room}` is not named; describe it")))
        .collect()
}

/// (h) Nothing names a folder of the machine it was written on.
fn machine_paths(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for folder in MACHINE_FOLDERS {
            let absolute = line.match_indices(folder).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + folder.len()..].chars().next();
                !before.is_some_and(|c| c.is_alphanumeric() || "._-~$})*".contains(c))
                    && after.is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '_')
            });
            if absolute {
                let remedy = "use a relative path, a temporary folder made for it, or a placeholder";
                findings.push(finding(
                    path,
                    index + 1,
                    format!("`{folder}…` exists on one machine only; {remedy}"),
                ));
            }
        }
    }
    findings
}

/// (i) What runs over both reactors is the same.
fn suites(path: &str, text: &str, over: &str, other: &str) -> Vec<Finding> {
    let modules = |text: &str| -> BTreeSet<String> {
        let tokens = tokens_of(&code_of(text));
        tokens.windows(2).filter(|pair| pair[0].text == "mod").map(|pair| pair[1].text.clone()).collect()
    };
    let (own, others) = (modules(text), modules(other));
    let missing = others.difference(&own);
    missing
        .map(|name| finding(path, 1, format!("`{name}` of {over} is not run here; add it with its path")))
        .collect()
}

// ------------------------------------------------------------------------------------------ the house

#[test]
fn imports_point_one_way() {
    let files = rust_files(&["src/"]);
    expect_none(&files.iter().flat_map(|(path, text)| imports(path, text)).collect::<Vec<_>>());
}

#[test]
fn the_table_lists_only_earlier_rooms() {
    for (index, (room, allowed)) in ROOMS.iter().enumerate() {
        for target in *allowed {
            let name = target.split("::").next().expect("a path has a first segment");
            let earlier = ROOMS[..index].iter().any(|(earlier, _)| *earlier == name);
            assert!(earlier, "`{room}` lists `{target}`, which does not stand above it");
        }
    }
}

#[test]
fn files_and_functions_are_short() {
    let (mut findings, mut used) = (Vec::new(), Vec::new());
    for (path, text) in rust_files(&["src/"]) {
        let (found, reasons) = sizes(&path, &text, EXCEPTIONS);
        findings.extend(found);
        used.extend(reasons);
    }
    expect_none(&findings);
    for (file, item, reason) in EXCEPTIONS {
        assert!(!reason.is_empty(), "the exception of {file} {item} gives no reason");
        assert!(used.contains(reason), "the exception of {file} {item} is not needed any more; remove it");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let files = rust_files(&["src/", "tests/", "benches/"]);
    expect_none(&files.iter().flat_map(|(path, text)| heading(path, text)).collect::<Vec<_>>());
}

#[test]
fn unsafe_stays_in_its_places() {
    let files = rust_files(&["src/", "tests/", "benches/"]);
    expect_none(&files.iter().flat_map(|(path, text)| unsafety(path, text)).collect::<Vec<_>>());
}

#[test]
fn names_say_what_things_are() {
    let files = rust_files(&["src/"]);
    expect_none(&files.iter().flat_map(|(path, text)| names(path, text)).collect::<Vec<_>>());
}

#[test]
fn banned_words_do_not_stand_in_code() {
    let files = rust_files(&["src/", "tests/", "benches/"]);
    expect_none(&files.iter().flat_map(|(path, text)| words(path, text)).collect::<Vec<_>>());
}

#[test]
fn both_reactors_pass_the_same_tests() {
    let mut findings = Vec::new();
    for suite in ["e2e", "attacks"] {
        let (over_epoll, over_io_uring) =
            (format!("tests/{suite}/main.rs"), format!("tests/{suite}_io_uring/main.rs"));
        let read = |path: &str| fs::read_to_string(root().join(path)).expect("both suites exist");
        let (epoll, io_uring) = (read(&over_epoll), read(&over_io_uring));
        findings.extend(suites(&over_io_uring, &io_uring, &over_epoll, &epoll));
        findings.extend(suites(&over_epoll, &epoll, &over_io_uring, &io_uring));
    }
    expect_none(&findings);
}

#[test]
fn the_map_names_every_room() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md describes the rooms");
    expect_none(&map(&text));
}

#[test]
fn the_example_configuration_exists() {
    assert!(
        root().join("config.toml").is_file(),
        "config.toml, complete and commented, belongs beside Cargo.toml"
    );
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    let files = project_files();
    assert!(files.len() > 20, "the project has more files than {}", files.len());
    expect_none(&files.iter().flat_map(|(path, text)| machine_paths(path, text)).collect::<Vec<_>>());
}

// ------------------------------------------------------------------------------------ the rules themselves

#[cfg(test)]
mod rules {
    use super::*;

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn comments_and_literals_are_blanked_in_place() {
        let text = "a // b\n/* c /* d */ e */ f \"g\\\"h\" r#\"i\"j\"# 'k' '\\n' 'static b\"l\" br\"m\" r.n";
        let code = code_of(text);
        assert_eq!(code.len(), text.len());
        let left: Vec<String> = tokens_of(&code).into_iter().map(|token| token.text).collect();
        assert_eq!(left, ["a", "f", "'", "static", "b", "b", "r", ".", "n"]);
        assert_eq!(tokens_of(&code)[1].line, 2);
        assert_eq!(code_of("'\"' unsafe '\"'").trim(), "unsafe");
        assert_eq!(code_of("'\\'' unsafe '\\u{1F}' x").split_whitespace().collect::<Vec<_>>(), ["unsafe", "x"]);
    }

    #[test]
    fn an_import_against_the_direction_is_found_in_every_form() {
        for text in [
            "use crate::upstream::pool::Pool;",
            "use crate::{units::KeyId, upstream::pool::Pool};",
            "use crate::{\n    units::KeyId,\n    upstream::{pool::{Pool, Key}, dns},\n};",
            "fn f() { crate::upstream::connect() }",
            "fn f() -> <crate::upstream::Pool as Trait>::Item {}",
            "pub use crate::upstream;",
            "#[cfg(test)]\nmod tests {\n    use crate::upstream::Pool;\n}",
            "use super::upstream::Pool;",
        ] {
            let found = imports("src/routing/mod.rs", text);
            assert!(!found.is_empty(), "not found: {text}");
            assert!(found[0].message.contains("may not import `crate::upstream"), "{}", found[0]);
        }
    }

    #[test]
    fn an_import_in_the_direction_passes() {
        for text in [
            "use crate::config::Config;\nuse crate::{units::{KeyId, RouteId as R}, error::Error};",
            "//! See [`crate::upstream`].\n/// Or [`crate::gateway::stack`].\nuse crate::routing::table::Table;",
            "pub(crate) fn f(s: &str) { g(\"use crate::upstream::Pool;\") }",
            "pub(in crate::routing) struct S;",
            "#[cfg(test)]\nmod tests {\n    use super::*;\n}",
        ] {
            assert_eq!(imports("src/routing/mod.rs", text), []);
        }
        assert_eq!(imports("src/routing/tests.rs", "use crate::upstream::Pool;"), []);
    }

    #[test]
    fn a_room_may_be_allowed_a_part_of_another() {
        assert_eq!(imports("src/gateway/x.rs", "use crate::reactor::tls::Acceptor;"), []);
        assert_eq!(imports("src/gateway/x.rs", "use crate::reactor::{tls::Acceptor, Conn};").len(), 1);
        assert_eq!(imports("src/gateway/x.rs", "use crate::reactor;").len(), 1);
    }

    #[test]
    fn globs_and_double_super_are_found() {
        assert_eq!(lines(&imports("src/gateway/x.rs", "\nuse crate::stream::*;")), [2]);
        assert_eq!(lines(&imports("src/gateway/x.rs", "use crate::{error::Error,\n stream::sse::*};")), [2]);
        assert_eq!(lines(&imports("src/gateway/x.rs", "use crate::*;")), [1]);
        assert_eq!(imports("src/gateway/x.rs", "use crate::gateway::call::*;"), []);
        assert_eq!(lines(&imports("src/gateway/x.rs", "use super::super::error::Error;")), [1]);
    }

    #[test]
    fn a_module_for_tests_alone_is_known_by_its_declaration() {
        let text = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\npub(super) mod c;\n#[cfg(test)]\nmod d { mod e; }";
        assert_eq!(test_modules("src/stream/mod.rs", text), ["src/stream/b.rs", "src/stream/c.rs"]);
        assert_eq!(test_modules("src/stream/body.rs", text), [""; 0]);
    }

    #[test]
    fn an_unknown_room_is_found() {
        assert!(imports("src/attic/mod.rs", "")[0].message.contains("no known room"));
        assert!(imports("src/attic.rs", "")[0].message.contains("no known room"));
    }

    #[test]
    fn the_root_holds_rooms_in_order_and_nothing_else() {
        let good = ROOMS.iter().map(|(room, _)| format!("pub mod {room};\n")).collect::<Vec<_>>().concat();
        assert_eq!(imports("src/lib.rs", &format!("//! Doc.\n\n{good}")), []);
        assert_eq!(imports("src/lib.rs", &format!("{good}pub use crate::error::Error;\n")).len(), 1);
        assert_eq!(imports("src/lib.rs", &good.replace("pub mod units;\n", "")).len(), 1);
        assert_eq!(imports("src/main.rs", "fn main() { millstream::cli::main() }"), []);
        assert_eq!(imports("src/main.rs", "use millstream::app;").len(), 1);
    }

    #[test]
    fn production_lines_are_counted_without_tests() {
        let long = "//! Doc.\n".to_owned() + &"fn f() {}\n".repeat(FILE_LINES_MAX);
        assert_eq!(sizes("src/x.rs", &long, &[]).0.len(), 1);
        let tests =
            "//! Doc.\n#[cfg(test)]\nmod tests {\n".to_owned() + &"fn f() {}\n".repeat(FILE_LINES_MAX) + "}\n";
        assert_eq!(sizes("src/x.rs", &tests, &[]).0, []);
        let below = tests + &"fn g() {}\n".repeat(FILE_LINES_MAX);
        assert_eq!(sizes("src/x.rs", &below, &[]).0.len(), 1);
        assert_eq!(sizes("src/x/tests.rs", &long, &[]).0, []);
        assert_eq!(sizes("src/x.rs", &long, &[("src/x.rs", "", "a table")]), (vec![], vec!["a table"]));
    }

    #[test]
    fn long_functions_are_found() {
        let body = "    step();\n".repeat(FUNCTION_LINES_MAX);
        let long = format!(
            "fn short() {{}}\ntrait T {{\n    fn none(x: [u8; 2]);\n}}\nfn long(x: [u8; 2]) {{\n{body}}}\n"
        );
        let found = sizes("src/x.rs", &long, &[]).0;
        assert_eq!(lines(&found), [5]);
        assert!(found[0].message.contains("`long` has 82 lines"), "{}", found[0]);
        assert_eq!(
            sizes("src/x.rs", &format!("#[cfg(test)]\nmod tests {{\nfn long() {{\n{body}}}\n}}"), &[]).0,
            []
        );
    }

    #[test]
    fn a_file_without_a_heading_is_found() {
        assert_eq!(heading("src/x.rs", "use std::fmt;\n").len(), 1);
        assert_eq!(heading("src/x.rs", "//! What it is for.\n"), []);
    }

    #[test]
    fn unsafe_is_found_where_it_is_code() {
        assert_eq!(lines(&unsafety("src/x.rs", "// unsafe\n#![deny(unsafe_code)]\nunsafe { f() }")), [3]);
        assert_eq!(unsafety("src/reactor/uring/op.rs", "unsafe { f() }"), []);
        assert_eq!(lines(&unsafety("src/reactor/conn.rs", "unsafe impl Send for X {}")), [1]);
    }

    #[test]
    fn empty_names_are_found() {
        for path in ["src/utils.rs", "src/x/http_helpers.rs", "src/common/mod.rs", "src/x/types.rs"] {
            assert_eq!(names(path, "").len(), 1, "{path}");
        }
        for text in
            ["struct ConnectionManager;", "pub enum Context {}", "pub(crate) type Data = u8;", "mod helpers {}"]
        {
            assert_eq!(names("src/x.rs", text).len(), 1, "{text}");
        }
        for text in ["struct Metadata;", "    type Data = Bytes;", "struct DataFrame;", "use std::task::Context;"]
        {
            assert_eq!(names("src/x.rs", text), [], "{text}");
        }
    }

    #[test]
    fn banned_words_are_found() {
        for text in
            ["todo!()", "dbg!(x)", "#[ignore = \"slow\"]", "std::thread::sleep(d)", "println!()", "print!()"]
        {
            assert_eq!(words("src/x.rs", text).len(), 1, "{text}");
            assert_eq!(words("tests/x.rs", text).len(), 1, "{text}");
        }
        for text in ["eprintln!()", "use std::env;", "use std::{env, fmt};", "::std::env::var(k)"] {
            assert_eq!(words("src/x.rs", text).len(), 1, "{text}");
            assert_eq!(words("src/cli.rs", text), [], "{text}");
        }
        assert_eq!(words("src/x.rs", &format!("// {}: later", notes()[0])).len(), 1);
        assert_eq!(words("src/config/env.rs", "std::env::var(k)"), []);
        assert_eq!(words("tests/x.rs", "eprintln!()"), []);
        assert_eq!(words("src/x.rs", "env!(\"CARGO_PKG_NAME\"); // println! or todo!()"), []);
        assert_eq!(words("src/x.rs", "let s = \"todo!()\";"), []);
    }

    fn notes() -> [&'static str; 2] {
        [concat!("FIX", "ME"), concat!("XX", "X")]
    }

    #[test]
    fn a_room_missing_from_the_map_is_found() {
        let full = ROOMS.iter().map(|(room, _)| format!("- `{room}` is a room\n")).collect::<Vec<_>>().concat();
        assert_eq!(map(&full), []);
        assert_eq!(map(&full.replace("`server`", "server")).len(), 1);
    }

    #[test]
    fn a_test_that_is_run_over_one_reactor_alone_is_found() {
        let both = "mod a;\n#[path = \"../x/b.rs\"]\nmod b;";
        assert_eq!(suites("y", both, "x", "mod b;\nmod a;"), []);
        assert_eq!(suites("y", both, "x", "mod a;\nmod b;\nmod c;").len(), 1);
        assert_eq!(suites("y", "mod a;\n// mod b;", "x", both).len(), 1);
    }

    #[test]
    fn machine_paths_are_found() {
        let folder = |index: usize| MACHINE_FOLDERS[index];
        assert_eq!(lines(&machine_paths("x.md", &format!("\nsee {}notes.md", folder(0)))), [2]);
        assert_eq!(machine_paths("x.md", &format!("`{}.cargo`", folder(1))).len(), 1);
        assert_eq!(machine_paths("x.toml", &format!("\"unix:{}a.sock\"", folder(4))).len(), 1);
        assert_eq!(machine_paths("x.md", &format!("example.org{}a and $HOME{}b", folder(0), folder(0))), []);
        assert_eq!(machine_paths("x.yaml", &format!("mountPath: {}\n", folder(4))), []);
    }
}
