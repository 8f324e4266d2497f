//! Who may come in: the version that is spoken, and the login key.
//!
//! That messages keep to their limits is checked by the wire as they are decoded; which message is allowed when is
//! [`crate::session`]'s matter.

use crate::config::LoginPolicy;
use myriad_wire::CloseReason;
use myriad_wire::client::{Hello, Login, Welcome};
use myriad_wire::limits::{VERSION_MAX, VERSION_MIN};

/// The feature bits that this build knows.
const FEATURES: u64 = 0;

/// Finds the newest version that both speak.
pub(crate) fn greet(hello: &Hello) -> Result<Welcome, CloseReason> {
    let version = hello.version_max.min(VERSION_MAX);
    if version < hello.version_min.max(VERSION_MIN) {
        return Err(CloseReason::Version);
    }
    Ok(Welcome {
        version,
        features: hello.features & FEATURES,
    })
}

/// Checks the key.
pub(crate) fn admit(login: &Login, policy: &LoginPolicy) -> Result<(), CloseReason> {
    match &policy.key {
        Some(key) if !equal_in_constant_time(key.as_bytes(), login.key.as_bytes()) => {
            Err(CloseReason::LoginRefused)
        }
        Some(_) | None => Ok(()),
    }
}

/// Takes as long for a key that differs in its first byte as for one that differs in its last, so that the time
/// of an answer tells nothing about the key but its length.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_spoken_or_none() {
        let greeted = |version_min, version_max| {
            greet(&Hello {
                version_min,
                version_max,
                features: u64::MAX,
                agent: "test".into(),
            })
        };
        let spoken = |min, max| greeted(min, max).map(|welcome| welcome.version);
        assert_eq!(spoken(VERSION_MIN, VERSION_MAX), Ok(VERSION_MAX));
        assert_eq!(spoken(0, u16::MAX), Ok(VERSION_MAX));
        assert_eq!(spoken(VERSION_MAX + 1, u16::MAX), Err(CloseReason::Version));
        assert_eq!(spoken(0, VERSION_MIN - 1), Err(CloseReason::Version));
        assert_eq!(spoken(u16::MAX, 0), Err(CloseReason::Version));
        assert_eq!(
            greeted(VERSION_MIN, VERSION_MAX).unwrap().features,
            FEATURES,
            "unknown features are not promised"
        );
    }

    #[test]
    fn a_login_shows_the_key_that_is_asked_for() {
        let open = LoginPolicy::default();
        let closed = LoginPolicy {
            key: Some("sesame".into()),
        };
        let admitted = |key: &str, policy: &LoginPolicy| {
            admit(
                &Login {
                    account: "ada".into(),
                    key: key.into(),
                },
                policy,
            )
        };
        assert_eq!(admitted("", &open), Ok(()));
        assert_eq!(admitted("whatever", &open), Ok(()));
        assert_eq!(admitted("sesame", &closed), Ok(()));
        for key in ["", "sesam", "sesamE", "sesame2"] {
            assert_eq!(admitted(key, &closed), Err(CloseReason::LoginRefused), "{key:?}");
        }
    }
}
