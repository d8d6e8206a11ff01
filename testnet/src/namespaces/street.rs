//! Homes that all reach each other, as network namespaces of this machine: each with a link whose quality can be changed,
//! and with walls between any two, for one direction at a time.

use std::time::Duration;

use anyhow::Result;

use super::lab::{ip, run_in};
use super::wire::{self, End, Link, Quality};

/// What a home's link is like when nothing is wrong: a city's.
pub(super) const USUAL: Quality = Quality {
    delay: Duration::from_millis(2),
    loss_percent: 0.0,
    rate_mbit: 0.0,
};
/// The middle of the street.
const MIDDLE: &str = "street";
/// Who is not heard at all, and of whom only some is heard: everything is decided where it arrives, so that a wall has a
/// direction.
const WALLS: &str = "table ip walls {
  set away { type ipv4_addr; }
  set faint { type ipv4_addr; }
  chain arriving {
    type filter hook input priority 0;
    ip saddr @away drop;
    ip saddr @faint numgen random mod 100 < 40 drop;
  }
}";

/// So many homes; removed when dropped.
pub(super) struct Street {
    prefix: String,
    links: Vec<Link>,
}

impl Drop for Street {
    fn drop(&mut self) {
        let homes = (0..self.links.len()).map(|home| self.namespace(home));
        for name in homes.chain([self.full(MIDDLE)]) {
            // It may not have been made.
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

impl Street {
    /// Builds it.
    ///
    /// # Errors
    /// The system refuses something.
    pub(super) fn build(homes: usize) -> Result<Self> {
        let mut street = Self {
            prefix: format!("w{}-", std::process::id()),
            links: Vec::new(),
        };
        let middle = street.full(MIDDLE);
        ip(&["netns", "add", &middle])?;
        for words in ["link add br0 type bridge", "link set br0 up"] {
            ip_in(&middle, words)?;
        }
        for home in 0..homes {
            street.home(home, &middle)?;
        }
        Ok(street)
    }

    fn home(&mut self, home: usize, middle: &str) -> Result<()> {
        let namespace = self.namespace(home);
        ip(&["netns", "add", &namespace])?;
        // By addresses of version 6 they would see each other through every wall.
        run_in(
            &namespace,
            &["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"],
            "",
        )?;
        let far = format!("tap{home}");
        let near = End {
            namespace: namespace.clone(),
            interface: "eth0".into(),
        };
        let end = End {
            namespace: middle.into(),
            interface: far.clone(),
        };
        self.links.push(wire::join(&near, &end, USUAL)?);
        ip_in(middle, &format!("link set {far} master br0"))?;
        ip_in(middle, &format!("link set {far} up"))?;
        ip_in(&namespace, "link set lo up")?;
        ip_in(
            &namespace,
            &format!("addr add {}/24 dev eth0", self.address(home)),
        )?;
        ip_in(&namespace, "link set eth0 up")?;
        ip_in(&namespace, "route add 224.0.0.0/4 dev eth0")?;
        run_in(&namespace, &["nft", "-f", "-"], WALLS)
    }

    /// The namespace of a home.
    pub(super) fn namespace(&self, home: usize) -> String {
        self.full(&format!("home{home}"))
    }

    /// The address of a home.
    pub(super) fn address(&self, home: usize) -> String {
        format!("10.77.0.{}", home + 1)
    }

    /// Lets nothing through from one home to another.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn wall(&self, from: usize, to: usize) -> Result<()> {
        self.add("away", from, to)
    }

    /// Loses much of what one home sends to another.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn lose(&self, from: usize, to: usize) -> Result<()> {
        self.add("faint", from, to)
    }

    /// Lets everything through again.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn open(&self) -> Result<()> {
        for home in 0..self.links.len() {
            let rules = "flush set ip walls away; flush set ip walls faint";
            run_in(&self.namespace(home), &["nft", "-f", "-"], rules)?;
        }
        Ok(())
    }

    /// Makes the link of a home another one.
    pub(super) fn set_link(&self, home: usize, quality: Quality) {
        if let Some(link) = self.links.get(home) {
            link.set(quality);
        }
    }

    fn add(&self, set: &str, from: usize, to: usize) -> Result<()> {
        let rule = format!("add element ip walls {set} {{ {} }}", self.address(from));
        run_in(&self.namespace(to), &["nft", "-f", "-"], &rule)
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn ip_in(namespace: &str, words: &str) -> Result<()> {
    let mut arguments = vec!["-n", namespace];
    arguments.extend(words.split(' '));
    ip(&arguments)
}
