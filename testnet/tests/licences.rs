//! Fails when a dependency's licence does not go with AGPL-3.0-or-later, or when it comes from anywhere but crates.io.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use serde::Deserialize;

/// Licences whose code may be part of an AGPL-3.0-or-later work.
const COMPATIBLE: &[&str] = &[
    "0BSD",
    "AGPL-3.0-or-later",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    // Of data alone: Mozilla's list of certificate authorities. It asks no more than that its text goes with the list.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// Where it came from; none for a crate of this workspace.
    source: Option<String>,
}

#[test]
fn every_dependency_may_be_part_of_an_agpl_work() {
    let packages = packages();
    assert!(packages.len() > 50, "only {} packages found", packages.len());
    let refused: Vec<_> = packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(is_compatible))
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.license))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn every_dependency_comes_from_crates_io() {
    let foreign: Vec<_> = packages()
        .into_iter()
        .filter(|package| {
            package
                .source
                .as_deref()
                .is_some_and(|source| source != CRATES_IO)
        })
        .map(|package| format!("{} from {:?}", package.name, package.source))
        .collect();
    assert!(foreign.is_empty(), "{}", foreign.join("\n"));
}

/// The packages that end up in a binary on this machine; the lock file is not touched.
fn packages() -> Vec<Package> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
            &platform,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice::<Metadata>(&output.stdout)
        .unwrap()
        .packages
}

/// Whether an SPDX expression can be fulfilled with compatible licences alone; `/` is an old way to write OR.
fn is_compatible(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    any_of(&mut rest) == Some(true) && rest.is_empty()
}

/// Reads alternatives, the loosest of the operators; nothing when what stands there is not an expression.
fn any_of(words: &mut &[&str]) -> Option<bool> {
    let mut compatible = all_of(words)?;
    while take(words, "OR") {
        compatible |= all_of(words)?;
    }
    Some(compatible)
}

fn all_of(words: &mut &[&str]) -> Option<bool> {
    let mut compatible = one(words)?;
    while take(words, "AND") {
        compatible &= one(words)?;
    }
    Some(compatible)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    if take(words, "(") {
        let inside = any_of(words)?;
        return take(words, ")").then_some(inside);
    }
    let (licence, rest) = words.split_first()?;
    *words = rest;
    if !take(words, "WITH") {
        return Some(COMPATIBLE.contains(licence));
    }
    let (exception, rest) = words.split_first()?;
    *words = rest;
    Some(COMPATIBLE.contains(&format!("{licence} WITH {exception}").as_str()))
}

fn take(words: &mut &[&str], expected: &str) -> bool {
    let [first, rest @ ..] = *words else { return false };
    let found = *first == expected;
    if found {
        *words = rest;
    }
    found
}

#[test]
fn licences_that_do_not_go_together_are_told_apart() {
    for good in [
        "MIT",
        "MIT OR Apache-2.0",
        "MIT/Apache-2.0",
        "GPL-2.0-only OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR MIT",
        "GPL-2.0-only AND MIT OR ISC",
    ] {
        assert!(is_compatible(good), "{good}");
    }
    for bad in [
        "",
        "GPL-2.0-only",
        "SSPL-1.0",
        "MIT AND GPL-2.0-only",
        "BUSL-1.1",
        "(MIT",
        "MIT MIT",
        "MIT OR",
        "AND",
    ] {
        assert!(!is_compatible(bad), "{bad}");
    }
}
