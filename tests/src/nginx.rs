//! A real nginx on a free port.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::eventually;

/// Of Debian's package.
const HEADERS_MORE: &str = "/usr/lib/nginx/modules/ngx_http_headers_more_filter_module.so";

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// `http`: what stands in the block of that name; `LISTEN` in it is where it listens.
    ///
    /// # Panics
    /// If nginx is not installed (`apt-get install nginx libnginx-mod-http-headers-more-filter`), or refuses the configuration.
    pub async fn start(http: &str) -> Nginx {
        // The port is free until another process takes it within the next moments.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.local_addr())
            .expect("a port");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().display();
        let configuration = format!(
            "load_module {HEADERS_MORE};\ndaemon off;\nmaster_process off;\npid {place}/pid;\nerror_log stderr warn;\n\
             events {{ worker_connections 512; }}\nhttp {{\naccess_log off;\nclient_body_temp_path {place}/body;\n\
             proxy_temp_path {place}/proxy;\nfastcgi_temp_path {place}/fastcgi;\nuwsgi_temp_path {place}/uwsgi;\n\
             scgi_temp_path {place}/scgi;\n{}\n}}\n",
            http.replace("LISTEN", &address.to_string())
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).expect("a configuration is written");
        let child = Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(file)
            .stdout(Stdio::null())
            .spawn()
            .expect("nginx is installed: make tools");
        let mut nginx = Nginx { child, address, _folder: folder };
        eventually("nginx answers", async || {
            let ended = nginx.child.try_wait().expect("a child");
            assert!(ended.is_none(), "nginx ended: {ended:?}");
            tokio::net::TcpStream::connect(nginx.address).await.ok()
        })
        .await;
        nginx
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
