//! Small pieces that pages are made of.

use maud::{Markup, html};

use crate::ByteSize;
use crate::api::Verdict;
use crate::page::Visitor;

/// A form that only this session can send.
pub(crate) fn form(visitor: &Visitor, action: &str, fields: Markup) -> Markup {
    html! {
        form method="post" action=(action) {
            input type="hidden" name="token" value=(visitor.form_token);
            (fields)
        }
    }
}

/// Something that cannot be undone: it opens to a question, and only then to the button.
pub(super) fn careful(
    visitor: &Visitor,
    says: &str,
    question: &str,
    action: &str,
    fields: Markup,
    button: &str,
) -> Markup {
    html! {
        details.careful {
            summary { (says) }
            (form(visitor, action, html! {
                p { (question) }
                (fields)
                button.danger type="submit" { (button) }
            }))
        }
    }
}

/// A button on its own.
pub(super) fn button(visitor: &Visitor, action: &str, says: &str) -> Markup {
    form(visitor, action, html! { button type="submit" { (says) } })
}

/// A text that people copy: a script adds the button.
pub(crate) fn copyable(id: &str, text: &str) -> Markup {
    html! { div.copyable { code id=(id) { (text) } button.copy type="button" data-copy=(id) hidden { "Copy" } } }
}

/// An amount of bytes.
pub(crate) fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// An instant, which a script shows in the reader's own time.
pub(super) fn moment(at: &str) -> Markup {
    let shown = at.get(..16).map_or_else(
        || at.to_owned(),
        |start| format!("{} UTC", start.replace('T', " ")),
    );
    html! { time datetime=(at) { (shown) } }
}

/// Something counted: `1 block`, `3 blocks`.
pub(super) fn counted(count: u64, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    }
}

/// The class of a verdict.
pub(super) const fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "good",
        Verdict::Degraded => "look",
        Verdict::AtRisk | Verdict::Unavailable => "bad",
    }
}

/// A bar that is full to `part` of `whole`, with what it says for those who do not see it; it warns when little is left.
pub(crate) fn bar(part: u64, whole: u64, says: &str) -> Markup {
    let percent = percent(part, whole);
    drawn(
        percent.max(u64::from(part > 0)),
        if percent >= 90 { "tight" } else { "roomy" },
        says,
    )
}

/// How many percent of something are proven.
pub(super) fn progress(percent: u32) -> Markup {
    drawn(
        percent.min(100).into(),
        "roomy",
        &format!("{percent} percent proven"),
    )
}

fn drawn(percent: u64, tone: &str, says: &str) -> Markup {
    html! {
        svg.bar.(tone) width="100%" height="8" role="img" aria-label=(says) {
            rect.track width="100%" height="8" rx="4" {}
            @if percent > 0 { rect.fill width={ (percent.max(2)) "%" } height="8" rx="4" {} }
        }
    }
}

/// How many percent of `whole` are `part`; 100 at most, and 0 of nothing.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent).unwrap_or(100).min(100)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_instant_is_shown_to_the_minute_whatever_it_is() {
        let shown = moment("2026-11-26T13:05:59Z").into_string();
        assert!(shown.contains(">2026-11-26 13:05 UTC<") && shown.contains("13:05:59Z"));
        assert!(moment("soon").into_string().contains(">soon<"));
    }

    #[test]
    fn what_people_wrote_is_text_and_never_markup() {
        let shown = copyable("id", "<script>alert('a')</script>").into_string();
        assert!(!shown.contains("<script>") && shown.contains("&lt;script&gt;"));
    }

    proptest! {
        #[test]
        fn a_percentage_is_never_more_than_a_hundred(part: u64, whole: u64) {
            prop_assert!(percent(part, whole) <= 100);
        }
    }
}
