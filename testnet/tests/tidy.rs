//! Fails when the house loses its order: who imports whom, what every file owes its reader, what the README draws.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each crate and those of ours it may import. A new edge is a decision: change it here and in the README's drawing.
const EDGES: &[(&str, &[&str])] = &[
    ("p2p", &[]),
    ("storage", &[]),
    ("appliance", &[]),
    ("s3", &["storage"]),
    ("warren", &["p2p", "storage", "s3", "appliance"]),
    ("testnet", &["warren", "p2p", "storage", "s3", "appliance"]),
];
/// What a crate must never import from outside, by the beginning of the name.
const FOREIGN: &[(&str, &[&str])] = &[
    ("storage", &["hyper", "libp2p"]),
    ("s3", &["libp2p"]),
    ("appliance", &["libp2p"]),
];
/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "core", "helpers", "misc"];
const LINES_MAX: usize = 700;
/// What an unfinished or careless line of code contains.
const CARELESS: &[&str] = &[".unwrap()", "todo!(", "unimplemented!(", "dbg!("];
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX"];

#[test]
fn crates_import_only_what_the_design_allows() {
    let imports = imports(&root());
    assert_eq!(broken_edges(&imports), Vec::<String>::new());
    let known: BTreeSet<_> = EDGES.iter().map(|(name, _)| *name).collect();
    assert_eq!(imports.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
}

#[test]
fn every_source_file_keeps_the_rules_of_the_house() {
    let files = sources(&root());
    assert!(files.len() > 30, "only {} source files found", files.len());
    let broken: Vec<_> = files
        .iter()
        .flat_map(|(path, text)| broken_rules(path, text))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_product_is_built_without_simulations() {
    let built_with = |manifest: &Path| fs::read_to_string(manifest).unwrap().contains("simulation");
    let product = [
        "Cargo.toml",
        "p2p/Cargo.toml",
        "s3/Cargo.toml",
        "appliance/Cargo.toml",
    ];
    for manifest in product {
        assert!(!built_with(&root().join(manifest)), "{manifest}");
    }
    assert!(built_with(&root().join("testnet/Cargo.toml")));
}

#[test]
fn the_drawing_in_the_readme_names_every_crate() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert_eq!(missing_from_drawing(&readme), Vec::<&str>::new());
}

/// The edges that are not allowed, each as a sentence.
fn broken_edges(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let ours: BTreeSet<_> = EDGES.iter().map(|(name, _)| *name).collect();
    let mut broken = Vec::new();
    for (name, imported) in imports {
        let allowed = EDGES
            .iter()
            .find(|(known, _)| known == name)
            .map_or(&[][..], |(_, allowed)| allowed);
        let foreign = FOREIGN
            .iter()
            .find(|(known, _)| known == name)
            .map_or(&[][..], |(_, never)| never);
        for import in imported {
            let new_edge = ours.contains(import.as_str()) && !allowed.contains(&import.as_str());
            if new_edge || foreign.iter().any(|never| import.starts_with(never)) {
                broken.push(format!("{name} must not import {import}"));
            }
        }
        if EMPTY_NAMES.contains(&name.as_str()) {
            broken.push(format!("a crate called {name} says nothing about its job"));
        }
    }
    broken
}

/// The rules of the house that one file breaks, each with its place.
fn broken_rules(path: &Path, text: &str) -> Vec<String> {
    let shown = path.display();
    let mut broken = Vec::new();
    if !text.starts_with("//! ") {
        broken.push(format!("{shown}: does not open with `//!` and its one job"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        broken.push(format!("{shown}: {lines} lines; is it still one job?"));
    }
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    if EMPTY_NAMES.contains(&stem) {
        broken.push(format!("{shown}: the name says nothing about its job"));
    }
    if !is_test(path) {
        broken.extend(
            outside_tests(text)
                .filter(|(_, line)| is_careless(line))
                .map(|(number, line)| format!("{shown}:{number}: {}", line.trim())),
        );
    }
    broken
}

fn is_careless(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    CARELESS.iter().any(|word| code.contains(word)) || UNFINISHED.iter().any(|word| line.contains(word))
}

/// Whether the whole file is only compiled for tests.
fn is_test(path: &Path) -> bool {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let folder = |name: &str| path.components().any(|part| part.as_os_str() == name);
    stem == "tests" || stem.ends_with("_tests") || folder("tests") || folder("benches")
}

/// The numbered lines of a file that are not inside an item marked `#[cfg(test)]`.
fn outside_tests(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut skipping: Option<Skip> = None;
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(move |(_, line)| {
            if line.trim_start().starts_with("#[cfg(test)]") {
                skipping = Some(Skip::Attributes {
                    indent: line.len() - line.trim_start().len(),
                });
                return false;
            }
            match skipping {
                None => true,
                Some(skip) => {
                    skipping = skip.after(line);
                    false
                }
            }
        })
}

/// Where in an item for tests a line stands.
#[derive(Clone, Copy)]
enum Skip {
    Attributes { indent: usize },
    Body { indent: usize },
}

impl Skip {
    /// What follows this line; nothing when it was the item's last.
    fn after(self, line: &str) -> Option<Self> {
        let code = line.trim_end();
        match self {
            Self::Attributes { .. } if code.trim_start().starts_with("#[") => Some(self),
            Self::Attributes { .. } if code.ends_with(';') || code.ends_with('}') => None,
            Self::Attributes { indent } => Some(Self::Body { indent }),
            Self::Body { indent } if code.trim_start().starts_with('}') && code.find('}') == Some(indent) => {
                None
            }
            Self::Body { .. } => Some(self),
        }
    }
}

/// The crates that no fenced block of the README draws together.
fn missing_from_drawing(readme: &str) -> Vec<&'static str> {
    let names = || {
        EDGES
            .iter()
            .map(|(name, _)| if *name == "warren" { "src" } else { *name })
    };
    let drawing = readme
        .split("```")
        .skip(1)
        .step_by(2)
        .max_by_key(|block| names().filter(|name| block.contains(name)).count());
    names()
        .filter(|name| !drawing.is_some_and(|block| block.contains(name)))
        .collect()
}

/// What each crate's manifest imports, by folder name; the root is `warren`.
fn imports(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut imports = BTreeMap::new();
    for manifest in files_below(root)
        .into_iter()
        .filter(|path| path.ends_with("Cargo.toml"))
    {
        let table: toml::Table = fs::read_to_string(&manifest).unwrap().parse().unwrap();
        let folder = manifest.parent().unwrap();
        let name = if folder == root {
            "warren"
        } else {
            folder.file_name().unwrap().to_str().unwrap()
        };
        imports.insert(name.to_owned(), imports_of(&table));
    }
    imports
}

/// All dependencies of one manifest, whatever they are for.
fn imports_of(manifest: &toml::Table) -> BTreeSet<String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets
        .into_iter()
        .flat_map(|all| all.values())
        .filter_map(toml::Value::as_table)
        .chain([manifest]);
    tables
        .flat_map(|table| {
            ["dependencies", "dev-dependencies", "build-dependencies"].map(|kind| table.get(kind))
        })
        .flatten()
        .filter_map(toml::Value::as_table)
        .flat_map(|dependencies| dependencies.keys().cloned())
        .collect()
}

fn sources(root: &Path) -> Vec<(PathBuf, String)> {
    files_below(root)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            (
                path.strip_prefix(root).unwrap().to_owned(),
                fs::read_to_string(&path).unwrap(),
            )
        })
        .collect()
}

/// All files of the workspace; `fuzz/` is one of its own, and hidden folders and build output are nobody's.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with('.') || name == "target" || name == "fuzz" {
            continue;
        }
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

mod the_test_can_fail {
    use super::*;

    fn imports(name: &str, manifest: &str) -> BTreeMap<String, BTreeSet<String>> {
        BTreeMap::from([(name.to_owned(), imports_of(&manifest.parse().unwrap()))])
    }

    fn broken(path: &str, text: &str) -> usize {
        broken_rules(Path::new(path), text).len()
    }

    #[test]
    fn on_an_edge_the_design_forbids() {
        for (name, manifest) in [
            ("p2p", "[dependencies]\nstorage.workspace = true"),
            ("storage", "[dev-dependencies]\np2p = { path = '../p2p' }"),
            ("storage", "[dependencies]\nhyper = '1'"),
            ("storage", "[target.'cfg(unix)'.dependencies]\nlibp2p-tcp = '1'"),
            ("s3", "[build-dependencies]\np2p.workspace = true"),
            ("appliance", "[dependencies]\ns3.workspace = true"),
            ("warren", "[dependencies]\ntestnet.workspace = true"),
            ("util", ""),
        ] {
            assert_eq!(
                broken_edges(&imports(name, manifest)).len(),
                1,
                "{name}: {manifest}"
            );
        }
        assert_eq!(
            broken_edges(&imports(
                "s3",
                "[dependencies]\nstorage.workspace = true\nhyper = '1'"
            ))
            .len(),
            0
        );
    }

    #[test]
    fn on_a_file_that_does_not_say_its_job() {
        assert_eq!(broken("s3/src/a.rs", "use std::fs;\n"), 1);
        assert_eq!(broken("s3/src/a.rs", "//! Says it.\n"), 0);
    }

    #[test]
    fn on_a_file_that_grew_too_long_or_has_an_empty_name() {
        assert_eq!(
            broken(
                "s3/src/a.rs",
                &format!("//! Job.\n{}", "// x\n".repeat(LINES_MAX))
            ),
            1
        );
        assert_eq!(broken("s3/src/utils.rs", "//! Job.\n"), 1);
    }

    #[test]
    fn on_careless_or_unfinished_code_outside_tests() {
        for line in [
            "let x = y.unwrap();",
            "todo!()",
            "dbg!(x);",
            "// TODO: later",
            "// FIXME",
            "unimplemented!()",
        ] {
            assert_eq!(broken("s3/src/a.rs", &format!("//! Job.\n{line}\n")), 1, "{line}");
            assert_eq!(
                broken("s3/src/a/tests.rs", &format!("//! Job.\n{line}\n")),
                0,
                "{line}"
            );
        }
    }

    #[test]
    fn but_not_on_the_tests_inside_a_file() {
        let tests = "#[cfg(test)]\nmod tests {\n    fn f() {\n        x.unwrap();\n    }\n}\n";
        assert_eq!(broken("s3/src/a.rs", &format!("//! Job.\n{tests}")), 0);
        assert_eq!(
            broken(
                "s3/src/a.rs",
                &format!("//! Job.\n{tests}fn g() {{ x.unwrap() }}\n")
            ),
            1
        );
        assert_eq!(
            broken(
                "s3/src/a.rs",
                "//! Job.\n#[cfg(test)]\n#[path = \"t.rs\"]\nmod tests;\nfn g() { x.unwrap() }\n"
            ),
            1
        );
    }

    #[test]
    fn on_a_drawing_that_forgets_a_crate() {
        let whole = "# W\n```\np2p storage appliance\ns3\nsrc\ntestnet\n```\n";
        assert_eq!(missing_from_drawing(whole), Vec::<&str>::new());
        assert_eq!(missing_from_drawing(&whole.replace("s3\n", "")), ["s3"]);
        assert_eq!(
            missing_from_drawing("p2p storage appliance s3 src testnet").len(),
            6
        );
    }
}
