//! esca-dkms: the module is built for the kernel whose headers are there, and
//! goes with the package; without a compiler the package installs as well.

use crate::root::{Root, package};
use std::path::PathBuf;
use std::process::Command;

#[test]
#[ignore = "needs root, packages and minutes: make test-deb"]
fn the_module_is_built_and_removed() {
    // The project's own compiler.
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .expect("rustc");
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    let root = Root::quiet("dkms", Some(&sysroot));
    root.take(&package("esca-dkms"));
    let before = root.files();

    let said = root.ok("dpkg -i esca-dkms_*.deb");
    assert!(
        said.contains("the module is not built: there is no rustc"),
        "{said}"
    );
    assert_eq!(root.ok("dkms status").trim(), "", "not registered: {said}");
    root.ok("dpkg --purge esca-dkms");

    root.ok("mkdir -p /usr/local/bin; ln -s /opt/bound/bin/rustc /usr/local/bin/rustc");
    let said = root.ok("dpkg -i esca-dkms_*.deb");
    let status = root.ok("dkms status");
    assert!(
        status.starts_with("esca/") && status.contains(": installed"),
        "{status}{said}"
    );
    let module = root.ok("modinfo -k $(ls /lib/modules) esca");
    assert!(
        module.contains("vermagic:") && module.contains("updates/dkms/esca.ko"),
        "{module}"
    );
    root.ok("test -e /usr/lib/udev/rules.d/60-esca.rules; getent group esca");

    root.ok("dpkg --purge esca-dkms; rm /usr/local/bin/rustc");
    let after = root.files();
    // depmod writes its lists anew; DKMS keeps its directories.
    let own = |f: &&String| {
        !f.contains("/modules.") && !f.starts_with("var/lib/dkms") && !f.ends_with("/updates")
    };
    let left: Vec<_> = after.difference(&before).filter(own).collect();
    assert!(left.is_empty(), "left: {left:?}");
    assert!(!root.run("getent group esca").0, "the group is gone");
}
