//! Connections by TLS.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use oubliette::store::{EventStoreExt, ExpectedRevision};
use oubliette_postgres::{OpenError, Options};

use crate::world::{event, postgres, stream};

fn openssl(folder: &Path, arguments: &str) {
    let ran =
        Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test]
async fn a_certificate_is_verified() {
    let Some(mut postgres) = postgres() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    for arguments in [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ours",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=server",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
        "req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.pem -days 2 -subj /CN=other",
    ] {
        openssl(at, arguments);
    }
    postgres.stop();
    for (from, to) in [("server.pem", "server.crt"), ("server.key", "server.key")] {
        let to = postgres.data().join(to);
        fs::copy(at.join(from), &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
        let owner = fs::metadata(postgres.data()).unwrap();
        let (uid, gid) = (
            std::os::unix::fs::MetadataExt::uid(&owner),
            std::os::unix::fs::MetadataExt::gid(&owner),
        );
        std::os::unix::fs::chown(&to, Some(uid), Some(gid)).unwrap();
    }
    let configuration = postgres.data().join("postgresql.conf");
    let text = fs::read_to_string(&configuration).unwrap() + "ssl = on\n";
    fs::write(&configuration, text).unwrap();
    postgres.restart();

    let url = format!("{}?sslmode=require", postgres.database());
    let store = Options::new(&url).root_certificate(at.join("ca.pem")).create().await.unwrap();
    store.append_to(&stream("user-1"), ExpectedRevision::Any, vec![event("{}")]).await.unwrap();
    let encrypted = "SELECT bool_or(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'oubliette'";
    assert_eq!(postgres.sql("postgres", encrypted), "t");
    // A stranger's certificate, and one that nobody here trusts.
    for options in [Options::new(&url).root_certificate(at.join("other.pem")), Options::new(&url)] {
        let refused = options.open().await.unwrap_err();
        assert!(refused.to_string().contains("ertificate"), "{refused}");
    }
    let unreadable =
        Options::new(&url).root_certificate(at.join("nothing.pem")).open().await.unwrap_err();
    assert!(matches!(unreadable, OpenError::Tls(_)), "{unreadable}");
}
