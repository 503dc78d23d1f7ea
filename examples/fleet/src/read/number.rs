//! Decimal numbers.

/// So many decimal digits are exact as a whole number in an `f64`, and so are the powers of ten up to here, so that
/// one division gives the nearest `f64` (W. D. Clinger, "How to read floating point numbers accurately", PLDI 1990).
const EXACT_DIGITS: usize = 15;
const POWERS_OF_TEN: [f64; EXACT_DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The number of JSON that the text begins with, and what follows it. None if there is none, or if it is too large.
pub(super) fn leading(text: &[u8]) -> Option<(f64, &[u8])> {
    let (is_negative, unsigned) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, whole_digits, rest) = digits(0, unsigned);
    if whole_digits == 0 || (whole_digits > 1 && unsigned.starts_with(b"0")) {
        return None;
    }
    let (mantissa, decimals, rest) = match rest.strip_prefix(b".") {
        Some(rest) => Some(digits(whole, rest)).filter(|(_, decimals, _)| *decimals > 0)?,
        None => (whole, 0, rest),
    };
    let is_exact = whole_digits + decimals <= EXACT_DIGITS && !matches!(rest.first(), Some(b'e' | b'E'));
    if let (true, Some(power)) = (is_exact, POWERS_OF_TEN.get(decimals)) {
        let number = mantissa as f64 / power;
        return Some((if is_negative { -number } else { number }, rest));
    }
    let rest = exponent(rest)?;
    let number = text.get(..text.len() - rest.len())?;
    let number: f64 = str::from_utf8(number).ok()?.parse().ok()?;
    number.is_finite().then_some((number, rest))
}

/// Goes on with a whole number, which wraps when it gets too long. Also says how many digits were read, and what follows.
fn digits(mut number: u64, text: &[u8]) -> (u64, usize, &[u8]) {
    let mut rest = text;
    while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        rest = after;
    }
    (number, text.len() - rest.len(), rest)
}

/// What follows an exponent, if there is one. None if it has no digits.
fn exponent(text: &[u8]) -> Option<&[u8]> {
    let Some((b'e' | b'E', rest)) = text.split_first() else { return Some(text) };
    let unsigned = rest.strip_prefix(b"+").or_else(|| rest.strip_prefix(b"-")).unwrap_or(rest);
    let (_, count, rest) = digits(0, unsigned);
    (count > 0).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn is(text: &str, number: f64, rest: &str) {
        let (found, after) = leading(text.as_bytes()).unwrap();
        assert_eq!((found.to_bits(), after), (number.to_bits(), rest.as_bytes()), "{text}");
    }

    #[test]
    fn numbers_end_where_json_ends_them() {
        is("0,", 0.0, ",");
        is("-0.0}", -0.0, "}");
        is("37.566535,\"lon\"", 37.566_535, ",\"lon\"");
        is("126.97796912345678", 126.977_969_123_456_78, "");
        is("1e3 ", 1000.0, " ");
        is("12.5E-1x", 1.25, "x");
        is("123456789012345678901234567890", 123_456_789_012_345_678_901_234_567_890.0, "");
        for none in ["", "-", "+1", ".5", "5.", "01", "-01", "1e", "1e+", "x", "1e999", "NaN", "inf"] {
            assert_eq!(leading(none.as_bytes()), None, "{none}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn every_number_is_the_nearest(text in "-?(0|[1-9][0-9]{0,18})(\\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?") {
            is(&text, text.parse().unwrap(), "");
        }
    }
}
