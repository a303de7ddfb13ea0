//! The name service: hosts, users, groups, services. A call may ask a server
//! and wait for its answer.

use super::{any, effect, effects};
use crate::arch::trampoline::before;
use libc::*;

effects! {
    getaddrinfo(node: *const c_char, service: *const c_char, hints: *const addrinfo, res: *mut *mut addrinfo) -> c_int;
}

before! { lean_trampoline, any:
    getaddrinfo_a getnameinfo
    gethostbyaddr gethostbyaddr_r gethostbyname gethostbyname_r gethostbyname2 gethostbyname2_r
    gethostent gethostent_r gethostid
    getnetbyaddr getnetbyaddr_r getnetbyname getnetbyname_r getnetent getnetent_r
    getnetgrent getnetgrent_r setnetgrent innetgr
    getservbyname getservbyname_r getservbyport getservbyport_r getservent getservent_r
    getprotobyname getprotobyname_r getprotobynumber getprotobynumber_r getprotoent getprotoent_r
    getrpcbyname getrpcbyname_r getrpcbynumber getrpcbynumber_r getrpcent getrpcent_r
    getpwnam getpwnam_r getpwuid getpwuid_r getpwent getpwent_r getpw
    getgrnam getgrnam_r getgrgid getgrgid_r getgrent getgrent_r getgrouplist group_member
    getspnam getspnam_r getspent getspent_r getsgnam getsgnam_r getsgent getsgent_r
    getaliasbyname getaliasbyname_r getaliasent getaliasent_r
    ether_hostton ether_ntohost
    setpwent setgrent setspent setsgent sethostent setnetent setservent setprotoent setrpcent
    setaliasent
    res_query res_querydomain res_search res_send
    res_nquery res_nquerydomain res_nsearch res_nsend
    ruserok ruserok_af iruserok iruserok_af ruserpass
    rcmd rcmd_af rexec rexec_af rresvport rresvport_af
    getifaddrs if_nameindex
}
