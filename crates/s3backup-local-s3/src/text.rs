//! Percent encoding, as S3 uses it in paths, listings and the tagging header.

/// Encodes everything but `A-Z a-z 0-9 - _ . ~ /`.
pub(crate) fn url_encode(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
            encoded.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    encoded
}

/// Decodes `%XX`; what is not UTF-8 afterwards becomes U+FFFD.
pub(crate) fn url_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if let (b'%', Some(byte)) = (first, hex_byte(tail)) {
            decoded.push(byte);
            rest = &tail[2..];
        } else {
            decoded.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Decodes the pairs of a query or a form, where `+` is a space.
pub(crate) fn form_pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    let decode = |part: &str| url_decode(&part.replace('+', " "));
    text.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_and_decoding_agree() {
        for text in ["a b+c%d/é\n?#&=", "", "%", "100%25", "/../."] {
            assert_eq!(url_decode(&url_encode(text)), text);
        }
        assert_eq!(url_encode("a b+é/"), "a%20b%2B%C3%A9/");
        assert_eq!(url_decode("%zz%4"), "%zz%4");
    }

    #[test]
    fn forms() {
        let pairs: Vec<_> = form_pairs("a+b=c%2Bd&e&&f=").collect();
        let expected = [("a b", "c+d"), ("e", ""), ("f", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(pairs, expected);
    }
}
