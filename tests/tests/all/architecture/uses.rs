//! Which files of a crate use which, from the paths in their code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A file as the path of its module: `["kernels", "dots"]` for `kernels/dots.rs`.
type Module = Vec<String>;

/// The code of a crate by file, without tests and comments.
pub(super) struct Files {
    code: BTreeMap<Module, String>,
    /// Names that the crate's root takes from its files.
    exports: BTreeMap<String, Module>,
}

impl Files {
    /// The files below `folder`, a crate's `src`.
    pub(super) fn read(folder: &Path) -> Self {
        let files = super::sources(folder).into_iter().map(|path| {
            let module = path.strip_prefix(folder).expect("below the folder").with_extension("");
            (module.display().to_string(), fs::read_to_string(&path).expect("a source"))
        });
        Self::new(files)
    }

    /// Files by name, such as `kernels/dots`.
    pub(super) fn new(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let module = |name: String| name.split('/').map(str::to_owned).collect::<Module>();
        let code: BTreeMap<_, _> = files.into_iter().map(|(name, text)| (module(name), code(&text))).collect();
        let mut exports = BTreeMap::new();
        for root in ["lib", "main"].iter().filter_map(|root| code.get(&vec![(*root).to_owned()])) {
            let statements = root.split(';').map(str::trim_start);
            let used = statements
                .filter_map(|line| Some(line.split_once("use ").filter(|(before, _)| !before.contains('{'))?.1));
            for (path, name) in used.flat_map(paths) {
                if code.contains_key(&path[..1]) {
                    exports.insert(name, path[..1].to_vec());
                }
            }
        }
        Self { code, exports }
    }

    /// Files that use each other in a circle, if there are any. The files of each of the groups in `one` count as one
    /// file, and so do a file and the folder of its parts.
    pub(super) fn circle(&self, one: &[&[&str]]) -> Option<Vec<String>> {
        // For each folder, the entries that an entry uses.
        let mut graphs: BTreeMap<&[String], BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
        let uses: Vec<_> = self.code.keys().map(|file| (file, self.uses(file))).collect();
        let joined = |name| one.iter().find(|group| group.contains(&name)).map_or(name, |group| group[0]);
        for (file, used) in uses.iter().flat_map(|(file, used)| used.iter().map(move |used| (*file, used))) {
            let common = file.iter().zip(used).take_while(|(a, b)| a == b).count();
            let (Some(from), Some(to)) = (file.get(common), used.get(common)) else { continue };
            let (from, to) = (joined(from), joined(to));
            if from != to && to != "error" {
                graphs.entry(&file[..common]).or_default().entry(from).or_default().insert(to);
            }
        }
        graphs.values().find_map(circle)
    }

    /// The files that `file` uses.
    fn uses(&self, file: &Module) -> BTreeSet<Module> {
        let code = &self.code[file];
        let root = file.len() == 1 && ["lib", "main"].contains(&file[0].as_str());
        let here: &[String] = if root { &[] } else { file };
        let above = &here[..here.len().saturating_sub(1)];
        let mut uses = BTreeSet::new();
        for (word, from) in [("crate", &[][..]), ("super", above), ("self", here)] {
            let found = after(code, word).flat_map(paths).filter_map(|(path, _)| self.file(from, &path));
            uses.extend(found);
        }
        // The root of a library only declares its files and exports their names.
        if !root || file[0] == "main" {
            let parts = self.code.keys().filter(|part| part.len() == here.len() + 1 && part.starts_with(here));
            uses.extend(parts.filter(|part| after(code, &part[here.len()]).next().is_some()).cloned());
        }
        uses.remove(file);
        uses
    }

    /// The file that `path`, from the module `from`, leads to; `None` for a name of a library's root or another crate.
    fn file(&self, from: &[String], path: &[String]) -> Option<Module> {
        let mut module = from.to_vec();
        for name in path {
            let inner = [&module[..], std::slice::from_ref(name)].concat();
            if name == "super" {
                module.pop();
            } else if self.code.contains_key(&inner) {
                module = inner;
            } else if module.is_empty() {
                let main = vec!["main".to_owned()];
                let kinds = ["struct", "enum", "trait", "fn", "type", "const", "static"];
                let defines = |code: &String| kinds.iter().any(|kind| code.contains(&format!("{kind} {name}")));
                return self.exports.get(name).cloned().or(self
                    .code
                    .get(&main)
                    .filter(|code| defines(code))
                    .map(|_| main));
            } else {
                break;
            }
        }
        Some(module).filter(|module| !module.is_empty())
    }
}

/// `text` without its tests at the end and without comments.
fn code(text: &str) -> String {
    let tests = text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..tests].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// What follows each `word::` in `code`.
fn after<'a>(code: &'a str, word: &str) -> impl Iterator<Item = &'a str> {
    let path = format!("{word}::");
    let part_of_a_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let starts: Vec<_> = code.match_indices(&path).map(|(at, _)| at).collect();
    let starts = starts.into_iter().filter(move |&at| !code[..at].ends_with(part_of_a_name));
    starts.map(move |at| &code[at + path.len()..])
}

/// The paths of the use tree at the start of `text`, each with the name that it gets.
fn paths(text: &str) -> Vec<(Vec<String>, String)> {
    let (mut path, mut rest) = (Vec::new(), text.trim_start());
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            let inner = entries(group).into_iter().flat_map(paths);
            return inner.map(|(tail, name)| ([&path[..], &tail].concat(), name)).collect();
        }
        let (name, behind) = rest.split_at(rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()));
        if !name.is_empty() {
            path.push(name.to_owned());
        }
        match behind.strip_prefix("::").filter(|_| !name.is_empty()) {
            Some(behind) => rest = behind,
            None if path.is_empty() => return Vec::new(),
            None => {
                let renamed = behind.trim_start().strip_prefix("as ").and_then(|name| paths(name).pop());
                let name = renamed.map_or_else(|| path[path.len() - 1].clone(), |(_, name)| name);
                return vec![(path, name)];
            }
        }
    }
}

/// The entries of a group of a use tree, up to its closing brace.
fn entries(group: &str) -> Vec<&str> {
    let (mut entries, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        if depth == 0 && (c == ',' || c == '}') {
            entries.push(&group[start..at]);
            start = at + 1;
        }
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ => {}
        }
    }
    entries
}

/// A circle in `graph`, from one entry to itself.
fn circle(graph: &BTreeMap<&str, BTreeSet<&str>>) -> Option<Vec<String>> {
    fn search<'a>(
        graph: &BTreeMap<&'a str, BTreeSet<&'a str>>,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        let last = way[way.len() - 1];
        for &next in graph.get(last).into_iter().flatten() {
            if let Some(start) = way.iter().position(|&name| name == next) {
                return Some(way[start..].iter().chain([&next]).map(|&name| name.to_owned()).collect());
            }
            if !done.contains(next) {
                way.push(next);
                if let Some(circle) = search(graph, way, done) {
                    return Some(circle);
                }
                way.pop();
            }
        }
        done.insert(last);
        None
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|&start| search(graph, &mut vec![start], &mut done))
}
