//! The bearer token that guards the admin HTTP.

use super::AdminError;
use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::path::Path;

/// Shortest and longest token, in bytes.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=256;
/// As much of the file is read as a token and some white space may need.
const FILE_BYTES_MAX: u64 = 1024;

/// A token. Does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    pub(super) fn read(path: &Path) -> Result<Self, AdminError> {
        let refuse = |detail: String| AdminError::Token {
            path: path.to_owned(),
            detail,
        };
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
            .map_err(|error| refuse(error.to_string()))?;
        let token = text.trim();
        if TOKEN_BYTES.contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(token.to_owned()))
        } else {
            let (least, most) = (TOKEN_BYTES.start(), TOKEN_BYTES.end());
            Err(refuse(format!(
                "a token is one line of {least} to {most} visible ASCII characters"
            )))
        }
    }

    /// Whether an `Authorization` header brings this token. How long that takes says nothing about its characters.
    pub(super) fn admits(&self, authorization: &[u8]) -> bool {
        let Some((scheme, presented)) = authorization.split_at_checked("Bearer ".len()) else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case(b"Bearer ") || presented.len() != self.0.len() {
            return false;
        }
        let differences = presented.iter().zip(self.0.bytes());
        black_box(differences.fold(0, |sum, (a, b)| black_box(sum | (a ^ b)))) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_let_in() {
        let token = Token("0123456789abcdef".to_owned());
        let cases: [(&[u8], bool); 8] = [
            (b"Bearer 0123456789abcdef", true),
            (b"bearer 0123456789abcdef", true),
            (b"Bearer 0123456789abcdeF", false),
            (b"Bearer 0123456789abcde", false),
            (b"Bearer 0123456789abcdef0", false),
            (b"Basic 00123456789abcdef", false),
            (b"Bearer", false),
            (b"", false),
        ];
        for (header, admitted) in cases {
            assert_eq!(
                token.admits(header),
                admitted,
                "{}",
                String::from_utf8_lossy(header)
            );
        }
    }

    #[test]
    fn a_token_file_holds_one_good_line() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let path = home.path().join("token");
        let cases = [
            ("0123456789abcdef\n", true),
            ("  0123456789abcdef  \r\n", true),
            ("short\n", false),
            ("", false),
            ("0123456789abcdef\n0123456789abcdef\n", false),
            ("0123456789äbcdef", false),
            (&"x".repeat(300), false),
            (&"x".repeat(5000), false),
        ];
        for (text, good) in cases {
            std::fs::write(&path, text).expect("writable");
            assert_eq!(Token::read(&path).is_ok(), good, "{text:?}");
        }
        let missing = Token::read(&home.path().join("none")).expect_err("no such file");
        assert!(missing.to_string().contains("No such file"), "{missing}");
    }

    #[test]
    fn a_token_does_not_show_itself() {
        assert_eq!(format!("{:?}", Token("0123456789abcdef".to_owned())), "Token");
    }
}
