//! The address of an endpoint: what may be shown of it, what must not, and who hears what is asked there.

use url::{Host, Url};

use crate::text::clean;

/// Scheme, host and port of a URL: what may be shown of it.
pub fn redacted(url: &Url) -> String {
    let host = url.host_str().unwrap_or("(no host)");
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// Parts of the URL long enough to be a key: short ones are words like `v2` or `rpc`.
pub(super) fn secret_parts(url: &Url) -> Vec<String> {
    const KEY_LENGTH: usize = 8;
    let path = url.path_segments().into_iter().flatten().map(str::to_owned);
    let query = url.query_pairs().map(|(_, value)| value.into_owned());
    let user = [Some(url.username()), url.password(), url.query()].into_iter().flatten().map(str::to_owned);
    let mut parts: Vec<String> =
        path.chain(query).chain(user).filter(|part| part.chars().count() >= KEY_LENGTH).collect();
    // The longest first, so that no part of one is left over by another.
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts.insert(0, url.as_str().to_owned());
    parts
}

/// Whether what is asked there stays on this computer.
pub(super) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_loopback())
        }
        None => false,
    }
}

/// The host of a URL that is asked without TLS although it is another machine.
pub fn in_the_clear(url: &str) -> Option<String> {
    let url: Url = url.parse().ok()?;
    let host = url.host_str()?;
    (url.scheme() == "http" && !is_this_machine(&url)).then(|| clean(host, 80))
}

/// Scheme, host and port of an address that was given; `None` where it is none.
pub fn origin(url: &str) -> Option<String> {
    url.parse().ok().map(|url| redacted(&url))
}

/// What that means.
pub fn clear_text(host: &str) -> String {
    format!(
        "{host} is asked in the clear (http://): everybody on the way reads what is asked, API keys included, and can change the \
         answers. Use https://, unless the way there is private"
    )
}
