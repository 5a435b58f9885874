//! What the environment says about the way to an endpoint.

use url::Url;

use crate::wallet::rpc::address::{is_this_machine, redacted};

/// A proxy that the environment names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub variable: &'static str,
    /// Scheme, host and port: there may be a password beside them.
    pub shown: String,
    pub spoken: bool,
}

/// The proxy that the environment names for a URL, as the HTTP client reads it: the scheme's own variable before `ALL_PROXY`,
/// and none for this machine or what `NO_PROXY` leaves out.
pub(super) fn proxy_for(url: &Url, variable: impl Fn(&str) -> Option<String>) -> Option<Proxy> {
    let own = if url.scheme() == "https" { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let set = |name: &'static str| {
        variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).map(|value| (name, value))
    };
    let (name, value) = own.into_iter().chain(["ALL_PROXY", "all_proxy"]).find_map(set)?;
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let left_out = ["NO_PROXY", "no_proxy"].into_iter().find_map(set).is_some_and(|(_, list)| {
        list.split(',').map(|entry| entry.trim().trim_start_matches('.').to_ascii_lowercase()).any(|entry| {
            entry == "*" || host == entry || host.strip_suffix(&entry).is_some_and(|start| start.ends_with('.'))
        })
    });
    if left_out || is_this_machine(url) {
        return None;
    }
    let with_scheme = if value.contains("://") { value } else { format!("http://{value}") };
    // What cannot be read may hold a password, and is not shown.
    let Ok(proxy) = Url::parse(&with_scheme) else {
        return Some(Proxy { variable: name, shown: "(not a URL)".to_owned(), spoken: false });
    };
    Some(Proxy { variable: name, shown: redacted(&proxy), spoken: matches!(proxy.scheme(), "http" | "https") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            Http,
            tests::{echo, hasty},
        },
        *,
    };
    use crate::wallet::rpc::{
        stub_server::{Reply, StubServer},
        transport::{Call, Endpoint},
    };

    #[tokio::test]
    async fn case_20_a_proxy_that_is_not_spoken_is_named_and_never_gone_past() {
        let server = StubServer::start(|_, call| Reply::Json(echo(call)));
        let through = |url: &str, variables: &'static [(&'static str, &'static str)]| {
            let find = |name: &str| variables.iter().find(|(v, _)| *v == name).map(|(_, value)| (*value).to_owned());
            Endpoint::new(Http::in_environment(url, hasty(), find).unwrap())
        };
        let call = || Call::read("eth_call", json!([1]));
        let socks: &[_] = &[("ALL_PROXY", "socks5h://user:pass-word@127.0.0.1:9")];
        let failed = through("http://node.example.invalid:8545", socks).call(call()).await.unwrap_err();
        let told = failed.to_string();
        assert_eq!(failed.code(), "proxy");
        assert!(
            told.contains("socks5h://127.0.0.1:9") && told.contains("ALL_PROXY") && told.contains("NO_PROXY"),
            "{told}"
        );
        assert!(!told.contains("pass-word"), "{told}");
        // This machine is never behind a proxy.
        assert_eq!(through(&server.url, socks).call(call()).await.unwrap(), json!(1));
    }

    #[test]
    fn case_20_the_proxy_of_a_url_is_the_environments() {
        let proxy = |url: &str, variables: &[(&str, &str)]| {
            let find = |name: &str| variables.iter().find(|(v, _)| *v == name).map(|(_, value)| (*value).to_owned());
            proxy_for(&Url::parse(url).unwrap(), find).map(|p| (p.variable, p.shown, p.spoken))
        };
        let all = ("ALL_PROXY", "socks5://h:1080");
        let of = |variable, shown: &str, spoken| Some((variable, shown.to_owned(), spoken));
        assert_eq!(proxy("https://node.example", &[]), None);
        assert_eq!(proxy("https://node.example", &[all]), of("ALL_PROXY", "socks5://h:1080", false));
        let own = ("https_proxy", "user:secret@h:3128");
        assert_eq!(proxy("https://node.example", &[all, own]), of("https_proxy", "http://h:3128", true));
        assert_eq!(proxy("http://node.example", &[all, own]), of("ALL_PROXY", "socks5://h:1080", false));
        for here in ["http://127.0.0.1:8545", "http://node.localhost:8545", "http://[::ffff:127.0.0.1]:8545"] {
            assert_eq!(proxy(here, &[all]), None, "{here}");
        }
        for list in ["*", "example", ".example", "other, node.example"] {
            assert_eq!(proxy("https://node.example", &[all, ("NO_PROXY", list)]), None, "{list}");
        }
        assert!(proxy("https://node.example", &[all, ("NO_PROXY", "ample, ode.example")]).is_some());
        let nonsense = proxy("https://node.example", &[("ALL_PROXY", "nonsense://x")]);
        assert_eq!(nonsense, of("ALL_PROXY", "nonsense://x", false), "what is not understood is not gone past");
    }
}
