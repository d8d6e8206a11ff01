//! Draws the recovery kit: one page to print, with all that helps when boxes are lost, but for the words a person wrote down.
//!
//! A page of HTML rather than a PDF: every computer opens and prints it, a browser makes a PDF of it, nothing has to be linked
//! for it, and `warren kit verify` finds what it needs in it as well as in a text that somebody typed from paper.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::api::{Kit, KitHome, Schema};
use crate::console::qr;
use crate::desk::Desk;
use crate::{Node, NodeError};

/// Words of a recovery phrase.
const WORDS: usize = 24;

/// Digits of a line: as many as a person copies without losing the place.
const LINE_DIGITS: usize = 32;

/// Between these lines stands the copy of the sealed keys.
const BEGIN: &str = "BEGIN WARREN KEYS";
const END: &str = "END WARREN KEYS";

/// How the page looks on a screen and on paper, which is white.
const STYLE: &str = "\
html{font:11pt/1.5 ui-sans-serif,system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;color:#20231f;background:#fff}\
body{max-width:44rem;margin:2rem auto;padding:0 1.25rem}\
h1{font-size:1.7rem;line-height:1.2;margin:0}h2{font-size:1.05rem;margin:1.6rem 0 .4rem;break-after:avoid}p{margin:.4rem 0}\
.lead{color:#5d645c}.words{display:grid;grid-template-columns:repeat(4,1fr);gap:.55rem 1rem;padding:0;list-style:none}\
.words li{border-bottom:1px solid #8a9088;height:1.9rem;color:#5d645c;font-size:.8rem}\
table{width:100%;border-collapse:collapse;font-size:.92rem}th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #e4e3dc;overflow-wrap:anywhere}\
pre{font:8.5pt/1.5 ui-monospace,Consolas,'DejaVu Sans Mono',monospace;background:#f3f2ee;padding:.7rem 1rem;border-radius:8px;margin:0;white-space:pre-wrap}\
code{font:.92em ui-monospace,Consolas,'DejaVu Sans Mono',monospace}ol.steps{padding-left:1.2rem}\
.keys{display:grid;grid-template-columns:1fr 9rem;gap:1rem;align-items:start}.keys svg{width:100%}.paper{fill:#fff}.ink{fill:#111}\
section{break-inside:avoid}@page{margin:16mm}@media print{body{margin:0;max-width:none;padding:0}pre{border:1px solid #ccc}}";

/// What a kit of this box says now.
///
/// # Errors
/// The box has no copy of the sealed keys.
pub(crate) async fn kit<N: Node>(desk: &Desk<N>) -> Result<Kit, NodeError> {
    let facts = desk.node.facts().await;
    let homes = facts.homes.into_iter().map(|home| KitHome {
        zone: home.zone,
        name: home.name,
    });
    Ok(Kit {
        schema: Schema,
        name: facts.name,
        made: jiff::Timestamp::now().to_string(),
        homes: homes.collect(),
        page: desk.page.clone(),
        s3: facts.s3,
        buckets: desk
            .node
            .buckets()
            .into_iter()
            .map(|bucket| bucket.name)
            .collect(),
        keys: desk.node.keys().into_iter().map(|key| key.name).collect(),
        keys_sealed: desk.node.keys_sealed()?,
    })
}

/// The kit as a file of HTML that needs nothing else.
pub fn kit_page(kit: &Kit) -> String {
    let digits = kit.keys_sealed.to_uppercase();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Recovery kit of " (kit.name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Recovery kit of " (kit.name) }
                p.lead { "Made " (kit.made.get(..10).unwrap_or(&kit.made)) ". Print it, write the words on it, and keep it in another home than the boxes." }
                (words())
                (places(kit))
                (steps())
                section {
                    h2 { "Keys, sealed to the words" }
                    p { "No secret without the words. Whoever has both reads everything: keep them as you keep a passport." }
                    div.keys {
                        pre { (sealed(&digits)) }
                        @if let Some(code) = qr(&digits, "The sealed keys as a QR code") { (code) }
                    }
                }
            }
        }
    };
    page.into_string()
}

fn words() -> Markup {
    html! {
        section {
            h2 { "The 24 words" }
            p { "They were shown when the mesh began, and are kept nowhere. Copy them here by hand, from the paper you wrote them on." }
            ol.words { @for number in 1..=WORDS { li { (number) } } }
        }
    }
}

fn places(kit: &Kit) -> Markup {
    html! {
        section {
            h2 { "Where it is" }
            table {
                @for home in &kit.homes { tr { th scope="row" { (home.zone) } td { (home.name) } } }
                @if !kit.page.is_empty() { tr { th scope="row" { "Page" } td { (kit.page.join("  ")) } } }
                tr { th scope="row" { "S3" } td { (kit.s3.join("  ")) } }
                @if !kit.buckets.is_empty() { tr { th scope="row" { "Buckets" } td { (kit.buckets.join(", ")) } } }
                @if !kit.keys.is_empty() { tr { th scope="row" { "Access keys" } td { (kit.keys.join(", ")) } } }
            }
        }
    }
}

fn steps() -> Markup {
    html! {
        section {
            h2 { "When something is lost" }
            ol.steps {
                li { "One box of several: where the page said OK, nothing is lost. Get another, and let it join: " code { "warren invite" } " on one that is there, " code { "warren join" } " on the new one." }
                li { "The key file of a box whose disk is there: " code { "warren server --recovery-phrase-file -" }
                    ", and type the words. If " code { "recovery.sealed" } " is gone as well, first make it of the digits below: "
                    code { "xxd -r -p DIGITS.txt > STATE/recovery.sealed" } "." }
                li { "Too many boxes to go on: " code { "warren mesh force-epoch --without NAME" } " on one that is there." }
                li { "The password of the page: " code { "warren login-code" } " on the box." }
            }
        }
    }
}

fn sealed(digits: &str) -> String {
    let lines = digits.as_bytes().chunks(LINE_DIGITS).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    format!("{BEGIN}\n{}\n{END}", lines.join("\n"))
}

/// The sealed keys in a kit, as bytes: in the file as it was saved, or in a text that was typed from paper. None where there are none.
pub fn keys_of_kit(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (digits, _) = rest.split_once(END)?;
    let digits: String = digits.split_whitespace().collect();
    hex::decode(digits).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    fn kit(keys: &[u8]) -> Kit {
        Kit {
            schema: Schema,
            name: "Maple <family>".into(),
            made: "2026-11-26T13:05:59Z".into(),
            homes: vec![KitHome {
                zone: "Anna's house".into(),
                name: "anna".into(),
            }],
            page: vec!["http://192.168.1.20:3980".into()],
            s3: vec!["http://192.168.1.20:3900".into()],
            buckets: vec!["photos".into()],
            keys: vec!["laptop".into()],
            keys_sealed: hex::encode(keys),
        }
    }

    #[test]
    fn a_kit_is_one_page_that_needs_nothing_and_has_room_for_every_word() {
        let page = kit_page(&kit(&[7; 300]));
        assert!(!page.contains("http-equiv") && !page.contains("src=") && !page.contains("href="));
        assert!(page.contains("<li>24</li>") && page.contains("Maple &lt;family&gt;"));
    }

    proptest! {
        #[test]
        fn the_keys_are_found_in_what_was_saved_and_in_what_was_typed(keys in prop::collection::vec(any::<u8>(), 1..400)) {
            let page = kit_page(&kit(&keys));
            prop_assert_eq!(keys_of_kit(&page), Some(keys.clone()));
            let typed = format!("{BEGIN}\n {} \n{END}", hex::encode(&keys));
            prop_assert_eq!(keys_of_kit(&typed), Some(keys));
        }

        #[test]
        fn any_text_is_a_kit_or_not(text: String) {
            let _ = keys_of_kit(&text);
        }
    }
}
