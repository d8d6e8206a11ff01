//! Homes behind routers of every kind and a server on the internet, as network namespaces of this machine.

use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::wire::{self, End, Quality};

/// How a home's router translates addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nat {
    /// The usual home router: keeps ports, lets in only who was contacted, address and port.
    Cone,
    /// Gives its box another port than it has, always the same one, and lets in only who was contacted.
    ConeOtherPort,
    /// Lets everybody in.
    FullCone,
    /// Gives every destination another port, as providers do that share an address among homes.
    Symmetric,
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cone => "cone",
            Self::ConeOtherPort => "cone that changes ports",
            Self::FullCone => "full cone",
            Self::Symmetric => "symmetric",
        })
    }
}

/// A place where a box may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Server,
    HomeA,
    /// A second box in home A, on its LAN.
    HomeA2,
    HomeB,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::HomeA => "homea",
            Self::HomeA2 => "homea2",
            Self::HomeB => "homeb",
        }
    }
}

/// The port that every box of the lab listens on.
pub(crate) const PORT: u16 = 4001;
/// The address of the server.
pub(crate) const SERVER: &str = "203.0.113.10";
const NAMESPACES: [&str; 7] = ["inet", "server", "nata", "natb", "homea", "homea2", "homeb"];
/// Programs the lab is built with.
const PROGRAMS: [&str; 2] = ["ip", "nft"];

/// Why the lab cannot run here; none when it can.
pub(crate) fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root, to make network namespaces".into());
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        return Some("it needs /dev/net/tun".into());
    }
    let missing = PROGRAMS.iter().find(|program| {
        let found = Command::new(program)
            .arg("-V")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        found.is_err()
    })?;
    Some(format!(
        "it needs the program {missing} (Debian: iproute2, nftables)"
    ))
}

/// A network of namespaces, removed when dropped.
pub(crate) struct Lab {
    prefix: String,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in NAMESPACES {
            // It may not have been made.
            let _ = ip(&["netns", "del", &self.full(name)]);
        }
    }
}

impl Lab {
    /// Builds two homes, each behind its router, and a server, all on one internet.
    ///
    /// # Errors
    /// The system refuses something.
    pub(crate) fn build(a: Nat, b: Nat, quality: Quality) -> Result<Self> {
        let lab = Self {
            prefix: format!("w{}-", std::process::id()),
        };
        for name in NAMESPACES {
            ip(&["netns", "add", &lab.full(name)])?;
            lab.ip(name, "link set lo up")?;
        }
        lab.ip("inet", "link add br0 type bridge")?;
        lab.ip("inet", "link set br0 up")?;
        lab.cable(("inet", "v-server"), ("server", "eth0"))?;
        lab.ip("inet", "link set v-server master br0")?;
        lab.ip("server", &format!("addr add {SERVER}/24 dev eth0"))?;
        lab.router("nata", 101, quality)?;
        lab.router("natb", 102, quality)?;
        lab.home("nata", "l1", Place::HomeA, 10)?;
        lab.home("nata", "l2", Place::HomeA2, 11)?;
        lab.home("natb", "l1", Place::HomeB, 20)?;
        lab.translate("nata", a, "203.0.113.101", "192.168.1.10")?;
        lab.translate("natb", b, "203.0.113.102", "192.168.1.20")?;
        Ok(lab)
    }

    /// The command that runs a program at a place.
    pub(crate) fn command(&self, place: Place, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.full(place.name())])
            .arg(program);
        command
    }

    /// The namespace of a place.
    pub(crate) fn namespace(&self, place: Place) -> String {
        self.full(place.name())
    }

    /// Gives home A's router another address, as providers do at night.
    pub(crate) fn change_address_of_home_a(&self) -> Result<()> {
        self.ip("nata", "addr del 203.0.113.101/24 dev wan")?;
        self.ip("nata", "addr add 203.0.113.111/24 dev wan")?;
        // What was translated before is forgotten, as when the router redials.
        self.ip("nata", "link set wan down")?;
        self.ip("nata", "link set wan up")
    }

    /// Gives a box of home A another address on its LAN.
    pub(crate) fn change_lan_address(&self, place: Place, from: u8, to: u8) -> Result<()> {
        self.ip(place.name(), &format!("addr del 192.168.1.{from}/24 dev eth0"))?;
        self.ip(place.name(), &format!("addr add 192.168.1.{to}/24 dev eth0"))
    }

    /// Pulls the cable between home A's router and the internet, or puts it back.
    pub(crate) fn set_internet_of_home_a(&self, is_on: bool) -> Result<()> {
        self.ip(
            "nata",
            &format!("link set wan {}", if is_on { "up" } else { "down" }),
        )
    }

    /// Lets nothing through between the two homes, or everything again; both still reach the server.
    pub(crate) fn set_wall_between_homes(&self, stands: bool) -> Result<()> {
        let home_b = "203.0.113.102";
        let rule = format!("ip daddr {home_b} drop; ip saddr {home_b} drop;");
        self.filter("nata", "between", stands.then_some(&rule))
    }

    /// Has both routers let no UDP through, as some networks do.
    pub(crate) fn drop_udp(&self) -> Result<()> {
        for router in ["nata", "natb"] {
            self.filter(router, "noudp", Some("meta l4proto udp drop;"))?;
        }
        Ok(())
    }

    /// Gives both boxes of home A an address of IPv6, of the internet as all of these are, and takes the others from them.
    pub(crate) fn make_home_a_ipv6(&self) -> Result<[String; 2]> {
        let boxes = [(Place::HomeA, 10), (Place::HomeA2, 11)];
        for (place, host) in boxes {
            let name = place.name();
            self.run_with_input(name, &["sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=0"], "")?;
            self.ip(name, &format!("addr del 192.168.1.{host}/24 dev eth0"))?;
            self.ip(name, &format!("addr add 2001:db8:0:1::{host}/64 dev eth0 nodad"))?;
        }
        Ok(boxes.map(|(_, host)| format!("[2001:db8:0:1::{host}]:{PORT}")))
    }

    /// Adds a rule to what a router forwards, or takes it away.
    fn filter(&self, router: &str, table: &str, rule: Option<&str>) -> Result<()> {
        let text = match rule {
            Some(rule) => format!(
                "table ip {table} {{
                   chain through {{ type filter hook forward priority -10; {rule} }}
                 }}"
            ),
            None => format!("delete table ip {table}"),
        };
        self.run_with_input(router, &["nft", "-f", "-"], &text)
    }

    fn router(&self, name: &str, host: u8, quality: Quality) -> Result<()> {
        let far = format!("tap-{name}");
        let near = End {
            namespace: self.full(name),
            interface: "wan".into(),
        };
        let internet = End {
            namespace: self.full("inet"),
            interface: far.clone(),
        };
        wire::join(&near, &internet, quality)?;
        self.ip(name, &format!("addr add 203.0.113.{host}/24 dev wan"))?;
        self.ip(name, "link set wan up")?;
        self.ip("inet", &format!("link set {far} master br0"))?;
        self.ip("inet", &format!("link set {far} up"))?;
        self.ip(name, "link add lan type bridge")?;
        self.ip(name, "addr add 192.168.1.1/24 dev lan")?;
        self.ip(name, "link set lan up")
    }

    fn home(&self, router: &str, port: &str, place: Place, host: u8) -> Result<()> {
        self.cable((router, port), (place.name(), "eth0"))?;
        self.ip(router, &format!("link set {port} master lan"))?;
        self.ip(place.name(), &format!("addr add 192.168.1.{host}/24 dev eth0"))?;
        self.ip(place.name(), "route add default via 192.168.1.1")
    }

    fn cable(&self, one: (&str, &str), other: (&str, &str)) -> Result<()> {
        let (near, far) = (self.full(one.0), self.full(other.0));
        ip(&[
            "link", "add", one.1, "netns", &near, "type", "veth", "peer", "name", other.1, "netns", &far,
        ])?;
        self.ip(one.0, &format!("link set {} up", one.1))?;
        self.ip(other.0, &format!("link set {} up", other.1))
    }

    /// Makes a router translate, and keep out what nobody inside asked for.
    fn translate(&self, router: &str, nat: Nat, outside: &str, inside: &str) -> Result<()> {
        let masquerade = match nat {
            Nat::Symmetric => "oifname wan masquerade fully-random".into(),
            Nat::ConeOtherPort => format!(
                "oifname wan tcp sport {PORT} snat to {outside}:2{PORT}; oifname wan udp sport {PORT} snat to {outside}:2{PORT}; oifname wan masquerade"
            ),
            Nat::Cone | Nat::FullCone => "oifname wan masquerade".into(),
        };
        let (let_in, keep_out) = match nat {
            Nat::FullCone => (format!("iifname wan ct state new dnat to {inside}"), ""),
            _ => (String::new(), "iifname wan ct state new drop"),
        };
        let rules = format!(
            "table ip nat {{
               chain before {{ type nat hook prerouting priority -100; {let_in}; }}
               chain after {{ type nat hook postrouting priority 100; {masquerade}; }}
             }}
             table ip wall {{
               chain here {{ type filter hook input priority 0; iifname lan accept; ct state established,related accept; iifname wan drop; }}
               chain through {{ type filter hook forward priority 0; ct state established,related accept; {keep_out}; }}
             }}"
        )
        .replace("{ ; }", "{ }")
        .replace("; ;", ";");
        self.run_with_input(router, &["nft", "-f", "-"], &rules)?;
        // A router forwards, and forgets UDP as fast as home routers do.
        let settings = [
            "net.ipv4.ip_forward=1",
            "net.netfilter.nf_conntrack_udp_timeout=30",
        ];
        for setting in settings {
            self.run_with_input(router, &["sysctl", "-qw", setting], "")?;
        }
        Ok(())
    }

    fn ip(&self, namespace: &str, words: &str) -> Result<()> {
        let namespace = self.full(namespace);
        let mut arguments = vec!["-n", &namespace];
        arguments.extend(words.split(' '));
        ip(&arguments)
    }

    fn run_with_input(&self, namespace: &str, words: &[&str], input: &str) -> Result<()> {
        run_in(&self.full(namespace), words, input)
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// Runs a program in a namespace to its end, with this as its input.
///
/// # Errors
/// It fails.
pub(super) fn run_in(namespace: &str, words: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["netns", "exec", namespace])
        .args(words)
        .stdin(Stdio::piped())
        .spawn()
        .context("start ip")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).context("write rules")?;
    }
    ensure!(child.wait()?.success(), "{words:?} failed");
    Ok(())
}

/// Runs `ip`, once more when the kernel is still busy with what came before.
pub(super) fn ip(arguments: &[&str]) -> Result<()> {
    for is_last in [false, true] {
        let output = Command::new("ip").args(arguments).output().context("start ip")?;
        if output.status.success() {
            return Ok(());
        }
        if is_last {
            bail!(
                "ip {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
