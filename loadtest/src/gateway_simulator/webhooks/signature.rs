//! How a webhook is signed.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The header `Webhook-Signature` of a body sent at this Unix second: `t=<seconds>`, then for each secret
/// `v1=<hex of HMAC-SHA256 over "<seconds>.<body>">`.
pub fn sign<S: AsRef<[u8]>>(secrets: &[S], body: &[u8], seconds: i64) -> String {
    let mut header = format!("t={seconds}");
    for secret in secrets {
        // A key may have any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_ref()) else {
            continue;
        };
        mac.update(format!("{seconds}.").as_bytes());
        mac.update(body);
        header.push_str(",v1=");
        for byte in mac.finalize().into_bytes() {
            let _ = write!(header, "{byte:02x}"); // a String takes everything
        }
    }
    header
}
