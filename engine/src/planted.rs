//! Defects that are planted on purpose, each of which takes one protection away, so that it can be seen that the tests miss it.
//! Only in builds with the feature `planted-defects`, and even there only where the variable `HOLDFAST_PLANTED_DEFECT` names one:
//! no release has them. `make mutants` turns on one after the other; `scripts/lib/mutants.tsv` lists them.
//!
//! A defect is one condition at the place of the protection, and is asked about last, so that it is only where the protection would
//! have made a difference:
//!
//! ```
//! # fn example(is_current: bool) -> Result<(), &'static str> {
//! if !is_current && !engine::planted::is_on("fence-not-checked") {
//!     return Err("not current");
//! }
//! # Ok(())
//! # }
//! ```

/// What is right, or what stands in its place where this defect is planted.
#[inline]
#[must_use]
pub fn either<T>(defect: &str, right: T, wrong: T) -> T {
    if is_on(defect) { wrong } else { right }
}

/// The text of another language, or without what protects there where this defect is planted.
///
/// Panics when the protection is not in the text: then the defect is none any more.
#[inline]
#[must_use]
pub fn edited(text: &'static str, defect: &str, protection: &str, instead: &str) -> &'static str {
    if !is_on(defect) {
        return text;
    }
    assert!(
        text.contains(protection),
        "{defect}: `{protection}` is not there"
    );
    text.replace(protection, instead).leak()
}

/// Whether this defect is planted in this process: in this build none is.
#[cfg(not(feature = "planted-defects"))]
#[must_use]
pub const fn is_on(_defect: &str) -> bool {
    false
}

/// Whether this defect is planted in this process. Says so on standard error when it takes effect for the first time.
#[cfg(feature = "planted-defects")]
#[must_use]
pub fn is_on(defect: &str) -> bool {
    use std::sync::LazyLock;
    static PLANTED: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var("HOLDFAST_PLANTED_DEFECT").ok());
    let is_on = PLANTED.as_deref() == Some(defect);
    if is_on {
        say(defect);
    }
    is_on
}

/// Once, to the stream itself: what a test prints is kept back until it has failed.
#[cfg(feature = "planted-defects")]
fn say(defect: &str) {
    use std::io::Write as _;
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        // That nobody listens is no reason for the defect not to be there.
        let _unheard = writeln!(std::io::stderr(), "planted defect: {defect}");
    });
}
