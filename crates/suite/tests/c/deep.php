<?php
// A server whose header goes by the executable's stream and whose body goes by
// an extension, which PHP opens with RTLD_DEEPBIND.
$listener = stream_socket_server("tcp://127.0.0.1:0");
echo preg_replace('/.*:/', '', stream_socket_get_name($listener, false)), "\n";
$stream = stream_socket_accept($listener, 60);
stream_set_blocking($stream, false);
$socket = socket_import_stream($stream);
for (;;) {
    $ready = [$stream];
    $none = null;
    stream_select($ready, $none, $none, 60);
    $got = socket_read($socket, 64);
    if ($got === false || $got === "")
        break;
    fwrite($stream, "header ");
    socket_write($socket, "body ");
    fwrite($stream, "end\n");
}
