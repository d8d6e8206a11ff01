//! What the command line promises to people and scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Said, TestBox, finish, mode, recovery_words};

#[test]
fn exit_codes_tell_scripts_what_happened() {
    let down = TestBox::new();
    down.run(&["status"]).exits(3);
    down.run(&["bucket", "ls"]).exits(3);
    down.run(&["bucket"]).exits(2);
    down.run(&["frobnicate"]).exits(2);
    down.run(&["server", "--s3", "nowhere"]).exits(2);
    down.run(&["server", "--data", "/x:5X"]).exits(2);
    down.run(&["--config", "/nowhere/warren.toml", "status"]).exits(5);
    let running = TestBox::serving();
    running.run(&["status"]).exits(0);
    running.run(&["bucket", "create", "Not_A_Name"]).exits(2);
    running.run(&["bucket", "create", "photos"]).exits(0);
    running.run(&["bucket", "create", "photos"]).exits(6);
    running.run(&["bucket", "info", "nothing"]).exits(5);
    running.run(&["bucket", "rm", "a/b"]).exits(5);
    running.run(&["key", "rm", "nobody", "--yes"]).exits(5);
    running.run(&["key", "rm", "owner"]).exits(2);
}

#[test]
fn a_script_reads_failures_as_problem_documents() {
    let problem = |said: Said| -> serde_json::Value {
        assert!(said.stdout.is_empty(), "{said:?}");
        serde_json::from_str(&said.stderr).unwrap_or_else(|_| panic!("{said:?}"))
    };
    let down = problem(TestBox::new().run(&["status", "--json"]).exits(3));
    assert_eq!(
        (&down["schema"], &down["code"]),
        (&1.into(), &"server-down".into())
    );
    assert!(down["hint"].as_str().unwrap().contains("warren server"), "{down}");
    let running = TestBox::serving();
    let refused = problem(running.run(&["bucket", "info", "nothing", "--json"]).exits(5));
    assert_eq!(
        (&refused["status"], &refused["code"]),
        (&404.into(), &"no-such-bucket".into())
    );
    assert!(
        refused["detail"].as_str().unwrap().contains("nothing"),
        "{refused}"
    );
}

#[test]
fn an_unknown_key_in_the_file_is_refused_with_a_suggestion() {
    let new = TestBox::new();
    fs::write(new.config_file(), "[s3]\nadress = '127.0.0.1:0'\n").unwrap();
    for verb in [&["server"][..], &["status"], &["config", "check"]] {
        let said = new.run(verb).exits(2);
        assert!(said.stderr.contains("did you mean `s3.address`?"), "{said:?}");
        assert!(said.stderr.contains("line 2"), "{said:?}");
    }
    fs::write(new.config_file(), "").unwrap();
    new.run(&["config", "check"]).exits(0);
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let new = TestBox::new();
    fs::write(
        new.config_file(),
        "zone = 'file'\nname = 'file'\nlog.level = 'warn'\n",
    )
    .unwrap();
    let mut command = new.command(&["config", "show", "--json"]);
    command.env("WARREN_ZONE", "variable").env("WARREN_LOG", "error");
    let shown = finish(command, "").exits(0).json();
    let source = |key: &str| {
        let settings = shown["settings"].as_array().unwrap();
        let setting = settings.iter().find(|setting| setting["key"] == key).unwrap();
        (
            setting["value"].as_str().unwrap().to_owned(),
            setting["source"].as_str().unwrap().to_owned(),
        )
    };
    let file = new.config_file().display().to_string();
    assert_eq!(source("zone"), ("variable".into(), "WARREN_ZONE".into()));
    assert_eq!(source("name"), ("file".into(), file));
    assert_eq!(source("log.level"), ("error".into(), "WARREN_LOG".into()));
    assert_eq!(source("log.format"), ("text".into(), "default".into()));
    assert_eq!(source("state").1, "--state");
}

#[test]
fn a_key_lives_from_create_to_rm() {
    let running = TestBox::serving();
    let made = running
        .run(&["key", "create", "laptop", "--json"])
        .exits(0)
        .json();
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert!(secret.len() >= 16);
    running.run(&["bucket", "create", "photos"]).exits(0);
    running
        .run(&["key", "allow", "laptop", "photos", "--read", "--write"])
        .exits(0);
    running.run(&["key", "deny", id, "photos", "--write"]).exits(0);
    running.run(&["key", "allow", id, "--create-buckets"]).exits(0);
    let keys = running.run(&["key", "ls"]).exits(0).stdout;
    assert!(keys.contains("create buckets; photos: read\n"), "{keys}");
    assert!(!keys.contains(secret), "a secret is shown once");
    running.run(&["key", "deny", "laptop", "photos"]).exits(0);
    running
        .run(&["key", "allow", "laptop", "nothing", "--read"])
        .exits(5);
    running.run(&["key", "rm", "laptop", "--yes"]).exits(0);
    running.run(&["key", "rm", "laptop", "--yes"]).exits(5);
    let keys = running.run(&["key", "ls", "--json"]).exits(0).json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn a_name_that_several_keys_have_names_none_of_them() {
    let running = TestBox::serving();
    for _ in 0..2 {
        running.run(&["key", "create", "phone"]).exits(0);
    }
    let said = running.run(&["key", "rm", "phone", "--yes"]).exits(6);
    assert!(said.stderr.contains("use the id"), "{said:?}");
}

#[test]
fn a_secret_goes_to_a_private_file_and_nowhere_else() {
    let running = TestBox::serving();
    let path = running.path("secret");
    let file = path.to_str().unwrap();
    let said = running
        .run(&["key", "create", "laptop", "--secret-file", file])
        .exits(0);
    let secret = fs::read_to_string(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert!(!said.stdout.contains(secret.trim()) && !said.stderr.contains(secret.trim()));
    running
        .run(&["key", "create", "again", "--secret-file", file])
        .exits(6);
    let keys = running.run(&["key", "ls"]).stdout;
    assert!(!keys.contains("again"), "no key without a place for its secret");
    let other = running.path("other");
    running
        .run(&["key", "create", "", "--secret-file", other.to_str().unwrap()])
        .exits(2);
    assert!(!other.exists(), "no file without a secret");
}

#[test]
fn a_key_of_another_store_is_imported_from_stdin_or_a_private_file() {
    let running = TestBox::serving();
    let import = ["key", "import", "old", "--id", "AKIAIOSFODNN7EXAMPLE"];
    running
        .run_with_input(&import, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n")
        .exits(0);
    running
        .run_with_input(&import, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n")
        .exits(6);
    running
        .run_with_input(&["key", "import", "bad", "--id", "GOODENOUGH"], "short")
        .exits(2);
    let path = running.path("secret");
    fs::write(&path, "0123456789abcdef").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = path.to_str().unwrap();
    let from_file = [
        "key",
        "import",
        "new",
        "--id",
        "ANOTHERKEY",
        "--secret-file",
        file,
    ];
    let said = running.run(&from_file).exits(4);
    assert!(said.stderr.contains("chmod 600"), "{said:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    running.run(&from_file).exits(0);
}

#[test]
fn a_bucket_is_opened_to_everybody_and_closed_again() {
    let running = TestBox::serving();
    running.run(&["bucket", "create", "site"]).exits(0);
    let public = |said: Said| said.exits(0).json()["public"].clone();
    assert_eq!(
        public(running.run(&["bucket", "public", "site", "on", "--json"])),
        "read"
    );
    assert_eq!(public(running.run(&["bucket", "info", "site", "--json"])), "read");
    assert_eq!(
        public(running.run(&["bucket", "public", "site", "off", "--json"])),
        "no"
    );
    assert_eq!(
        running.run(&["bucket", "rm", "site", "--json"]).exits(0).json()["deleted"],
        "site"
    );
    assert_eq!(
        running.run(&["bucket", "ls", "--json"]).json()["buckets"],
        serde_json::json!([])
    );
}

#[test]
fn a_bucket_belongs_to_the_key_that_is_named() {
    let running = TestBox::serving();
    let id = running.run(&["key", "create", "ben", "--json"]).json()["id"].clone();
    let made = running
        .run(&["bucket", "create", "bens", "--owner", "ben", "--json"])
        .exits(0)
        .json();
    assert_eq!(made["owner"], id);
    running
        .run(&["bucket", "create", "lost", "--owner", "nobody"])
        .exits(5);
}

#[test]
fn every_shell_gets_its_completion() {
    for shell in ["bash", "zsh", "fish"] {
        let said = TestBox::new().run(&["completion", shell]).exits(0);
        assert!(said.stdout.contains("warren"), "{shell}");
    }
}

#[test]
fn data_goes_to_stdout_and_quiet_keeps_the_rest_silent() {
    let running = TestBox::serving();
    let said = running.run(&["bucket", "create", "photos", "--quiet"]).exits(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
    let said = running.run(&["bucket", "ls"]).exits(0);
    assert!(
        said.stdout.starts_with("NAME") && said.stderr.is_empty(),
        "{said:?}"
    );
    assert_eq!(
        running.run(&["version", "--json"]).exits(0).json()["version"],
        env!("CARGO_PKG_VERSION")
    );
}

#[test]
fn a_recovery_kit_is_saved_once_and_verified_with_the_words() {
    let mut home = TestBox::new();
    home.start(&[]);
    let file = home.path("kit.html");
    let file = file.to_str().unwrap();
    home.run(&["kit", "save", "kit.pdf"]).exits(2);
    home.run(&["kit", "save", file]).exits(0);
    home.run(&["kit", "save", file]).exits(6);
    let kit = fs::read_to_string(file).unwrap();
    let told = fs::read_to_string(home.state().join("first-start.txt")).unwrap();
    let words = recovery_words(&told);
    assert!(kit.contains("BEGIN WARREN KEYS") && !kit.contains(&words[..3].join(" ")));
    let verify = ["kit", "verify", file, "--json", "--recovery-phrase-file", "-"];
    let good = home.run_with_input(&verify, &words.join(" ")).exits(0).json();
    assert_eq!(
        (good["lacks"].as_u64(), good["opened"].as_u64()),
        (Some(0), Some(1)),
        "{good}"
    );
    let mut others = words.clone();
    others.reverse();
    home.run_with_input(&verify, &others.join(" ")).exits(1);
    home.stop();
    home.run(&["kit", "verify", file]).exits(0);
    fs::write(file, kit.replace("BEGIN WARREN KEYS\n", "BEGIN WARREN KEYS\n0")).unwrap();
    home.run(&["kit", "verify", file]).exits(1);
    home.run(&["kit", "verify", "nothing.html"]).exits(5);
}
