//! Draws QR codes on terminals.

use qrcodegen::{QrCode, QrCodeEcc};

/// Empty modules around a QR code, without which phones do not see it.
const QUIET: i32 = 4;

/// A QR code in half blocks, light on dark as terminals are; `None` where the text is too long for one.
pub(super) fn drawn(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let all = -QUIET..code.size() + QUIET;
    let line = |y: i32| {
        let cells = all
            .clone()
            .map(|x| match (code.get_module(x, y), code.get_module(x, y + 1)) {
                (false, false) => '█',
                (false, true) => '▀',
                (true, false) => '▄',
                (true, true) => ' ',
            });
        cells.chain(['\n']).collect::<String>()
    };
    Some(all.clone().step_by(2).map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_square_and_has_quiet_around_it() {
        let code = drawn("WRN1QQQQ").unwrap();
        let width = code.lines().next().unwrap().chars().count();
        assert_eq!(code.lines().count(), width.div_ceil(2));
        assert!(code.lines().next().unwrap().chars().all(|cell| cell == '█'));
        assert_eq!(drawn(&"x".repeat(10_000)), None);
    }
}
