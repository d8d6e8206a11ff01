//! Offers the disks on which a box could keep everything, and empties none before somebody has said so, twice where it holds
//! something.

use http::{Response, StatusCode};
use maud::{Markup, html};

use super::{DiskUse, DiskWish, Fresh, Setup, SpareDisk};
use crate::console::pieces::{form, size};
use crate::console::{Visit, layout};
use crate::page::{Form, Visitor};
use crate::routes::Body;

/// What a form about disks comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// Nothing: it does not say what it must.
    Nothing,
    /// No disk: it, or what is on it, has changed since it was shown.
    Gone,
    /// The disk holds something, which nobody has said is to go.
    Unsure(SpareDisk),
    /// That disk.
    Taken(DiskWish),
}

/// Decides what a person wants with one of these disks.
pub(super) fn chosen(disks: &[SpareDisk], form: &Form) -> Chosen {
    let Some(disk) = disks.iter().find(|disk| disk.mark == form.get("disk")) else {
        return Chosen::Gone;
    };
    let taken = |what| {
        Chosen::Taken(DiskWish {
            mark: disk.mark.clone(),
            what,
        })
    };
    match (form.get("use"), &disk.holds) {
        ("keep", _) if disk.is_box => taken(DiskUse::Keep),
        ("format", _) if !form.has("erase") => Chosen::Nothing,
        // What was shown, in the words that somebody read.
        ("format", Some(holds)) if form.get("sure") != holds => Chosen::Unsure(disk.clone()),
        ("format", _) => taken(DiskUse::Format),
        _ => Chosen::Nothing,
    }
}

/// The disks, each with what can be done with it.
pub(super) fn offers(visitor: &Visitor, disks: &[SpareDisk]) -> Markup {
    html! {
        details.app name="way" {
            summary { strong { "Another disk" } span.small { "Keep everything there, before you begin or join" } }
            @for disk in disks {
                h2 { (called(disk)) }
                p { @match &disk.holds { Some(holds) => { "It holds " (holds) "." }, None => "It looks empty." } }
                @if disk.is_box {
                    p { "That is a box of yours, or was: it can go on here, with its keys and all it holds." }
                    (form(visitor, "/setup/disk", html! {
                        (fields(disk, "keep"))
                        button.main type="submit" { "Go on with that box" }
                    }))
                }
                (form(visitor, "/setup/disk", html! {
                    (fields(disk, "format"))
                    label.tick { input type="checkbox" name="erase" required; span { "All that is on it is deleted" } }
                    button.danger type="submit" { "Use this disk" }
                }))
            }
        }
    }
}

/// Asks again about a disk that holds something.
pub(super) fn question<F: Fresh>(
    visit: &Visit<'_, Setup<F>>,
    visitor: &Visitor,
    disk: &SpareDisk,
) -> Response<Body> {
    let holds = disk.holds.as_deref().unwrap_or_default();
    let main = html! {
        div.note.bad role="alert" { p { strong { (called(disk)) } " holds " strong { (holds) } ". Nobody can bring that back." } }
        (form(visitor, "/setup/disk", html! {
            (fields(disk, "format"))
            input type="hidden" name="erase" value="on";
            input type="hidden" name="sure" value=(holds);
            button.danger type="submit" { "Delete " (holds) " and use the disk" }
        }))
        p { a.button href="/" { "Leave it as it is" } }
    };
    layout::alone(visit, StatusCode::OK, "Delete what is on it?", main)
}

fn fields(disk: &SpareDisk, what: &str) -> Markup {
    html! {
        input type="hidden" name="disk" value=(disk.mark);
        input type="hidden" name="use" value=(what);
    }
}

fn called(disk: &SpareDisk) -> String {
    let model = if disk.model.is_empty() {
        "Disk"
    } else {
        &disk.model
    };
    let serial = match disk.serial.as_str() {
        "" => String::new(),
        serial => format!(", serial number {serial}"),
    };
    format!("{model}, {}{serial} ({})", size(disk.bytes), disk.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(holds: Option<&str>, is_box: bool) -> SpareDisk {
        SpareDisk {
            mark: "a1".into(),
            name: "sda".into(),
            model: String::new(),
            serial: String::new(),
            bytes: 4_000,
            holds: holds.map(str::to_owned),
            is_box,
        }
    }

    fn says(disk: SpareDisk, form: &str) -> Chosen {
        chosen(&[disk], &Form::parse(form.as_bytes()))
    }

    fn taken(what: DiskUse) -> Chosen {
        Chosen::Taken(DiskWish {
            mark: "a1".into(),
            what,
        })
    }

    #[test]
    fn a_disk_is_emptied_only_when_somebody_says_so() {
        let empty = || disk(None, false);
        assert_eq!(
            says(empty(), "disk=a1&use=format&erase=on"),
            taken(DiskUse::Format)
        );
        for form in ["", "disk=sda&use=format&erase=on", "disk=b2&use=format&erase=on"] {
            assert_eq!(says(empty(), form), Chosen::Gone, "{form}");
        }
        for form in ["disk=a1&use=format", "disk=a1&erase=on"] {
            assert_eq!(says(empty(), form), Chosen::Nothing, "{form}");
        }
    }

    #[test]
    fn a_disk_that_holds_something_is_emptied_only_when_somebody_says_so_twice() {
        let full = || disk(Some("ntfs Photos"), false);
        let once = "disk=a1&use=format&erase=on";
        assert_eq!(says(full(), once), Chosen::Unsure(full()));
        assert_eq!(
            says(full(), &format!("{once}&sure=ntfs+Photos")),
            taken(DiskUse::Format)
        );
        assert_eq!(
            says(full(), &format!("{once}&sure=something+else")),
            Chosen::Unsure(full())
        );
    }

    #[test]
    fn only_a_disk_with_a_box_on_it_is_taken_as_it_is() {
        let keep = "disk=a1&use=keep";
        assert_eq!(says(disk(Some("ext4"), true), keep), taken(DiskUse::Keep));
        assert_eq!(says(disk(Some("ext4"), false), keep), Chosen::Nothing);
    }
}
