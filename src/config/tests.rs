//! What the configuration promises.

use std::fs;

use proptest::prelude::*;

use super::*;
use appliance::ByteSize;

/// Loads a configuration from flags, variables (`NAME=value`) and the text of a file.
fn load(flags: Flags, variables: &[&str], text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("warren.toml");
    fs::write(&path, text).unwrap();
    let flags = Flags {
        config: Some(path),
        ..flags
    };
    load_from(&flags, variables)
}

fn load_from(flags: &Flags, variables: &[&str]) -> Result<Config, String> {
    let variable = |name: &str| {
        let found = variables
            .iter()
            .find_map(|one| one.strip_prefix(name)?.strip_prefix('='));
        found.map(str::to_owned)
    };
    let around = Surroundings {
        variable: &variable,
        root: false,
        host: "box".into(),
        vendor: Path::new("/nonexistent"),
    };
    Config::load(flags, &around).map_err(|error| error.to_string())
}

#[test]
fn nothing_needs_to_be_configured() {
    let config = load(Flags::default(), &["HOME=/home/anna"], "").unwrap();
    assert_eq!(config.state.value, Path::new("/home/anna/.local/share/warren"));
    assert_eq!(
        config.data.value[0].path,
        Path::new("/home/anna/.local/share/warren/blocks")
    );
    assert_eq!(config.s3_address.value.to_string(), "[::]:3900");
    assert_eq!(config.zone.value, "box");
    assert!(
        config
            .settings()
            .iter()
            .skip(3)
            .all(|(_, _, source)| **source == Source::Default)
    );
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let file = "s3.address = '127.0.0.1:1'";
    let flags = Flags {
        s3: Some("127.0.0.1:3".into()),
        ..Flags::default()
    };
    let port = |flags, variables: &[&str], file| {
        let config = load(flags, variables, file).unwrap();
        (
            config.s3_address.value.0.port(),
            config.s3_address.source.to_string(),
        )
    };
    let variables = ["WARREN_S3=127.0.0.1:2"];
    assert_eq!(port(flags, &variables, file), (3, "--s3".into()));
    assert_eq!(port(Flags::default(), &variables, file), (2, "WARREN_S3".into()));
    assert_eq!(port(Flags::default(), &[], file).0, 1);
    assert_eq!(port(Flags::default(), &[], ""), (3900, "default".into()));
}

#[test]
fn what_init_was_told_holds_until_the_file_says_otherwise() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("init.toml"), "name = 'Maple'\nzone = 'attic'").unwrap();
    let flags = Flags {
        state: Some(state.path().display().to_string()),
        ..Flags::default()
    };
    let config = load(flags, &[], "zone = 'cellar'").unwrap();
    assert_eq!(
        (config.name.value.as_str(), config.zone.value.as_str()),
        ("Maple", "cellar")
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    for (text, line, suggestion) in [
        ("nmae = 'x'", 1, "did you mean `name`?"),
        ("\n[s3]\nadress = '[::]:1'", 3, "did you mean `s3.address`?"),
        ("[log]\nformt = 'json'", 2, "did you mean `log.format`?"),
        ("level = 'info'", 1, "did you mean `log.level`?"),
        ("[logs]\nlevel = 'info'", 1, "unknown key `logs`"),
        ("quux = 1", 1, "unknown key `quux`"),
    ] {
        let error = load(Flags::default(), &[], text).unwrap_err();
        assert!(
            error.contains(suggestion) && error.contains(&format!("line {line}:")),
            "{error}"
        );
    }
}

#[test]
fn a_wrong_value_names_where_it_stands() {
    for (text, parts) in [
        (
            "s3.address = 'here'",
            ["warren.toml: s3.address", "is not an address"],
        ),
        ("log.format = 'xml'", ["warren.toml: log.format", "text or json"]),
        (
            "log.level = 'loud'",
            ["warren.toml: log.level", "is not a log level"],
        ),
        ("s3 = 4", ["warren.toml", "invalid type"]),
        ("data = []", ["data", "at least one"]),
        ("data = ['/a:5X']", ["data", "is not a size"]),
        ("data = ['/a', '/a:5G']", ["/a", "named twice"]),
        ("name = \"a\\nb\"", ["warren.toml: name", "printable"]),
    ] {
        let error = load(Flags::default(), &[], text).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn data_directories_take_a_size_after_the_last_colon() {
    let flags = Flags {
        data: vec!["/mnt/a:500G".into(), "/mnt/b:c".into()],
        ..Flags::default()
    };
    let data = load(flags, &["WARREN_DATA=/ignored"], "").unwrap().data.value;
    assert_eq!(
        (data[0].path.as_path(), data[0].capacity),
        (Path::new("/mnt/a"), Some(ByteSize(500_000_000_000)))
    );
    assert_eq!(
        (data[1].path.as_path(), data[1].capacity),
        (Path::new("/mnt/b:c"), None)
    );
}

#[test]
fn an_address_of_ipv6_is_never_taken_for_a_port() {
    let address = |text: &str| {
        let flags = Flags {
            s3: Some(text.into()),
            ..Flags::default()
        };
        load(flags, &[], "").map(|config| config.s3_address.value.to_string())
    };
    assert_eq!(address("3901"), Ok("[::]:3901".into()));
    assert_eq!(address(":3901"), Ok("[::]:3901".into()));
    assert_eq!(address("[::1]:3901"), Ok("[::1]:3901".into()));
    for wrong in ["::1", "::3901", "::"] {
        assert!(
            address(wrong).unwrap_err().contains("is not an address"),
            "{wrong}"
        );
    }
}

#[test]
fn domains_of_buckets_come_from_one_place_and_are_names() {
    let domains = |flags: &[&str], variables: &[&str], text: &str| {
        let s3_domains = flags.iter().map(ToString::to_string).collect();
        let flags = Flags {
            s3_domains,
            ..Flags::default()
        };
        let setting = load(flags, variables, text)?.s3_domains;
        let names: Vec<_> = setting.value.iter().map(S3Domain::as_str).collect();
        Ok::<_, String>((names.join(" "), setting.source.to_string()))
    };
    let (variables, file) = (["WARREN_S3_DOMAINS=b.example, c"], "s3.domains = ['D.example']");
    assert_eq!(
        domains(&["a.example"], &variables, file),
        Ok(("a.example".into(), "--s3-domain".into()))
    );
    assert_eq!(
        domains(&[], &variables, file),
        Ok(("b.example c".into(), "WARREN_S3_DOMAINS".into()))
    );
    assert_eq!(
        domains(&[], &[], file).map(|(names, _)| names),
        Ok("d.example".into())
    );
    assert_eq!(domains(&[], &[], ""), Ok((String::new(), "default".into())));
    let proxies = load(Flags::default(), &["WARREN_S3_PROXIES=127.0.0.1,10.0.0.0/8"], "").unwrap();
    assert_eq!(proxies.proxies.value.len(), 2);
    let wrong = load(Flags::default(), &[], "s3.proxies = ['everybody']");
    assert!(wrong.unwrap_err().contains("is not an address"));
    let hooks = load(
        Flags::default(),
        &[],
        "s3.webhooks = ['a=http://10.0.0.2:8123/api/secret']",
    )
    .unwrap();
    assert_eq!(hooks.webhooks.value[0].name(), "a");
    let shown = hooks.settings().map(|(key, value, _)| format!("{key} {value}"));
    assert!(
        shown.contains(&"s3.webhooks a=http://10.0.0.2:8123/…".into()),
        "{shown:?}"
    );
    let twice = load(
        Flags::default(),
        &["WARREN_S3_WEBHOOKS=a=http://x,a=http://y"],
        "",
    );
    assert!(twice.unwrap_err().contains("two webhooks are called"));
    for (files, why) in [
        (
            "b=/ca.pem",
            "s3.webhook_ca_files: no webhook in s3.webhooks is called \"b\"",
        ),
        (
            "a=/nowhere/ca.pem",
            "s3.webhook_ca_files: /nowhere/ca.pem: No such file",
        ),
        (
            "plain=/ca.pem",
            "the URL of the webhook \"plain\" is not https://",
        ),
        ("a=", "name a file"),
        ("/ca.pem", "is not NAME=FILE"),
    ] {
        let files = format!("WARREN_S3_WEBHOOK_CA_FILES={files}");
        let hooks = "s3.webhooks = ['a=https://x', 'plain=http://x']";
        let refused = load(Flags::default(), &[&files], hooks).unwrap_err();
        assert!(refused.contains(why), "{files}: {refused}");
    }
    let websites = load(Flags::default(), &["WARREN_S3_WEBSITE_DOMAINS=web.example"], "").unwrap();
    assert_eq!(websites.website_domains.value[0].as_str(), "web.example");
    let websites = load(Flags::default(), &[], "s3.website_domains = ['W.example']").unwrap();
    assert_eq!(websites.website_domains.value[0].as_str(), "w.example");
    for wrong in [
        "",
        ".",
        "*.example",
        "s3.example:3900",
        "http://s3.example",
        "127.0.0.1",
        "-a.b",
    ] {
        let error = domains(&[wrong], &[], "").unwrap_err();
        assert!(
            error.contains("--s3-domain, s3.domains") && error.contains("is not a domain"),
            "{error}"
        );
    }
}

#[test]
fn a_named_file_must_exist() {
    let flags = Flags {
        config: Some("/nowhere/warren.toml".into()),
        ..Flags::default()
    };
    assert!(
        load_from(&flags, &[])
            .unwrap_err()
            .contains("/nowhere/warren.toml")
    );
}

#[test]
fn a_service_keeps_its_state_where_its_manager_says() {
    let config = load(
        Flags::default(),
        &["STATE_DIRECTORY=/var/lib/w:/x", "HOME=/h"],
        "",
    )
    .unwrap();
    assert_eq!(config.state.value, Path::new("/var/lib/w"));
}

proptest! {
    #[test]
    fn no_text_makes_reading_a_file_panic(text in "[a-z0-9\\[\\].= '\"\\n]{0,60}") {
        let _ = File::parse(Path::new("warren.toml"), &text);
    }

    #[test]
    fn a_data_directory_reads_back_as_written(path in "/[a-z]{1,9}", bytes in proptest::option::of(1_u64..)) {
        let directory = DataDirectory { path: path.into(), capacity: bytes.map(ByteSize) };
        prop_assert_eq!(DataDirectory::parse(&directory.to_string()), Ok(directory));
    }
}

#[test]
fn members_connect_anywhere_unless_told_otherwise() {
    let config = |text: &str| load(Flags::default(), &[], text).unwrap();
    let everywhere = config("").mesh.address.value;
    assert_eq!((everywhere.ips().len(), everywhere.port()), (2, None));
    let said = config(
        "[mesh]\naddress = '192.168.1.20'\npublic = ['box.example.org:4001']\nmdns = 'off'\nlimit_up = '2M'\n",
    );
    assert_eq!(
        said.mesh.address.value.ips(),
        ["192.168.1.20".parse::<std::net::IpAddr>().unwrap()]
    );
    assert_eq!(said.mesh.public.value[0].to_string(), "box.example.org:4001");
    assert!(!said.mesh.mdns.value.0 && said.mesh.upnp.value.0);
    assert_eq!(said.mesh.limit_up.value, Rate(Some(2_000_000)));
    assert_eq!(
        config("mesh.address = '4001'").mesh.address.value.port(),
        Some(4001)
    );
    for wrong in [
        "address = 'nowhere'",
        "public = ['box']",
        "mdns = 'maybe'",
        "limit_up = '0'",
    ] {
        assert!(
            load(Flags::default(), &[], &format!("[mesh]\n{wrong}\n")).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn the_page_is_for_this_network_unless_told_otherwise() {
    let page = |text: &str| load(Flags::default(), &[], text).unwrap().page;
    let nothing = page("");
    assert_eq!(nothing.address.value.to_string(), "[::]:3980");
    assert!(nothing.lan_only.value.0 && nothing.hosts.value.is_empty());
    let said = page("[page]\naddress = 'off'\nhosts = ['Box.Example']\nlan_only = 'off'\n");
    assert_eq!(said.address.value, PageAddress::Off);
    assert_eq!(said.hosts.value[0].as_str(), "box.example");
    assert!(!said.lan_only.value.0);
    let several = page("[page]\naddress = '3980, 127.0.0.1:80'\n");
    assert_eq!(several.address.value.to_string(), "[::]:3980,127.0.0.1:80");
    for wrong in [
        "address = 'nowhere'",
        "address = '3980,'",
        "address = '3980,off'",
        "hosts = ['http://box']",
        "lan_only = 'maybe'",
    ] {
        let wrong = format!("[page]\n{wrong}\n");
        assert!(load(Flags::default(), &[], &wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_the_system_says_is_weaker_than_anything_a_person_said() {
    let folder = tempfile::tempdir().unwrap();
    let vendor = folder.path().join("vendor.toml");
    fs::write(&vendor, "[page]\naddress = '3980,80'\n").unwrap();
    let page = |flags: Flags| {
        let config = folder.path().join("warren.toml");
        fs::write(&config, "").unwrap();
        let flags = Flags {
            config: Some(config),
            ..flags
        };
        let around = Surroundings {
            variable: &|_| None,
            root: false,
            host: "box".into(),
            vendor: &vendor,
        };
        let page = Config::load(&flags, &around).unwrap().page.address;
        (page.value.to_string(), page.source)
    };
    let said = ("[::]:3980,[::]:80".to_owned(), Source::File(vendor.clone()));
    assert_eq!(page(Flags::default()), said);
    let flags = Flags {
        page: Some("off".into()),
        ..Flags::default()
    };
    assert_eq!(page(flags), ("off".into(), Source::Flag("--page")));
}
