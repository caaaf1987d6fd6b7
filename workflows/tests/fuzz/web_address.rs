//! What every address that is taken for one on the web must be, said without a parser of URLs.

/// A browser that is sent there goes there, and nowhere else.
pub fn is_web_address(url: &str) -> Result<(), String> {
    let lower = url.to_ascii_lowercase();
    let rest = lower
        .strip_prefix("http://")
        .or_else(|| lower.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#', '\\']).next().unwrap_or_default());
    let is_good = url.len() <= 2_048
        && url.bytes().all(|byte| byte.is_ascii_graphic())
        && host.is_some_and(|host| !host.is_empty() && !host.contains('@'));
    if is_good {
        Ok(())
    } else {
        Err(format!("taken for an absolute URL: {url}"))
    }
}
