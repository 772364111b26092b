//! The parameters of an address, behind its `?`.

/// Takes a parameter that is ours out of an address.
pub(super) fn taken(url: &mut String, name: &str) -> Option<String> {
    let (before, parameters) = url.split_once('?')?;
    let of = |parameter: &&str| parameter.split('=').next() == Some(name);
    let found = parameters.split('&').find(of)?;
    let value = found.split_once('=').map_or("", |(_, value)| value);
    let value = decoded(value);
    let rest: Vec<&str> = parameters.split('&').filter(|parameter| !of(parameter)).collect();
    *url = match rest.is_empty() {
        true => before.to_owned(),
        false => format!("{before}?{}", rest.join("&")),
    };
    Some(value)
}

/// A value as it stands in an address.
#[cfg(feature = "postgres")]
pub(super) fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let one = |byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    value.bytes().map(one).collect()
}

/// A value as it was before it was put into an address.
pub(super) fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, behind @ ..] = rest {
        let byte = match (first, behind) {
            (b'%', [high, low, ..]) => std::str::from_utf8(&[*high, *low])
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_parameters_are_taken_out_of_an_address() {
        let mut url = "postgres://h/d?a=b&sslrootcert=%2Fa%20b&schema=x".to_owned();
        assert_eq!(taken(&mut url, "schema").as_deref(), Some("x"));
        assert_eq!(taken(&mut url, "sslrootcert").as_deref(), Some("/a b"));
        assert_eq!(taken(&mut url, "schema"), None);
        assert_eq!(url, "postgres://h/d?a=b");
        assert_eq!(taken(&mut url, "a").as_deref(), Some("b"));
        assert_eq!(url, "postgres://h/d");
        assert_eq!(decoded("%4"), "%4");
        assert_eq!(decoded("%zz%41"), "%zzA");
        #[cfg(feature = "postgres")]
        assert_eq!(encoded("/a b/é?&=%+"), "/a%20b/%C3%A9%3F%26%3D%25%2B");
    }
}
