import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.rpc.ErrorInfo;
import dev.artifactd.v1.*;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;

/**
 * The main job from Java: save, upload through cuts, list, fetch, branch on a reason.
 *
 * <p>{@code java FirstSteps.java ADDRESS FILE SERVICE_CONFIG}, with grpc-java, protobuf and the stubs made from
 * proto/ by protoc and its grpc-java plugin on the class path.
 */
public class FirstSteps {
    static final int CHUNK_BYTES = 1 << 20;
    static final int TRIES_MAX = 20;

    public static void main(String[] arguments) throws Exception {
        var file = Path.of(arguments[1]);
        // Which calls wait for a server that is away, and which are repeated by the library.
        var object = new TypeToken<Map<String, ?>>() {};
        Map<String, ?> config = new Gson().fromJson(Files.readString(Path.of(arguments[2])), object.getType());
        ManagedChannel channel = ManagedChannelBuilder.forTarget(arguments[0])
                .usePlaintext()
                .defaultServiceConfig(config)
                .enableRetry()
                .build();
        try {
            firstSteps(channel, file);
        } finally {
            channel.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
        }
    }

    static void firstSteps(ManagedChannel channel, Path file) throws Exception {
        var artifacts = ArtifactServiceGrpc.newBlockingStub(channel).withDeadlineAfter(2, TimeUnit.MINUTES);

        // With a request id the call can be repeated: it has the effect of one.
        var header = SaveHeader.newBuilder().setKey("tour/small.csv").setRequestId("first-steps");
        var content = ByteString.copyFromUtf8("species,body_mass_g\nAdelie,3750\n");
        report("saved", artifacts.saveSmallArtifact(
                SaveSmallArtifactRequest.newBuilder().setHeader(header).setContent(content).build()));

        report("uploaded", uploadThroughCuts(channel, file, "tour/large.bin"));

        list(artifacts);

        fetch(channel, "tour/large.bin", Path.of(file + ".copy"));
        System.out.println("fetched  tour/large.bin, sha256 as recorded");

        try {
            artifacts.getArtifact(GetArtifactRequest.newBuilder().setArtifact(byKey("tour/missing.csv")).build());
            throw new AssertionError("a missing artifact was found");
        } catch (StatusRuntimeException refused) {
            if (!reason(refused).equals("ARTIFACT_NOT_FOUND")) {
                throw refused;
            }
            System.out.println("refused  " + reason(refused));
        }
    }

    static void report(String what, SaveArtifactResponse saved) {
        var outcome = saved.getOutcome().name().replace("SAVE_OUTCOME_", "");
        var artifact = saved.getArtifact();
        System.out.printf("%-8s %s version %s (%s)%n", what, artifact.getKey(), artifact.getVersion(), outcome);
    }

    static ArtifactRef byKey(String key) {
        return ArtifactRef.newBuilder().setKey(KeyRef.newBuilder().setKey(key)).build();
    }

    static SaveArtifactResponse uploadThroughCuts(ManagedChannel channel, Path file, String key) throws Exception {
        for (int tries = 1; ; tries++) {
            try {
                return upload(channel, file, key);
            } catch (StatusRuntimeException failed) {
                if (!goesOn(failed) || tries == TRIES_MAX) {
                    throw failed;
                }
                Thread.sleep(200);
            }
        }
    }

    /** Saves a file; called again after a cut, it sends only what is not durable yet. */
    static SaveArtifactResponse upload(ManagedChannel channel, Path file, String key) throws Exception {
        var uploads = UploadServiceGrpc.newBlockingStub(channel).withDeadlineAfter(2, TimeUnit.MINUTES);
        long size = Files.size(file);
        // The same request id finds the upload again, also from another run of this program.
        var id = key + "-" + size + "-" + Files.getLastModifiedTime(file).toMillis();
        var header = SaveHeader.newBuilder().setKey(key).setSize(size).setRequestId(id);
        var begun = uploads.createUpload(CreateUploadRequest.newBuilder().setSave(header).build());
        if (begun.getDurableBytes() < size) {
            sendRest(channel, begun, file);
        }
        var complete = CompleteUploadRequest.newBuilder().setUid(begun.getUid()).setSha256(sha256(file)).build();
        while (true) {
            var answer = uploads.completeUpload(complete);
            if (answer.hasSaved()) {
                return answer.getSaved();
            }
        }
    }

    static void sendRest(ManagedChannel channel, Upload begun, Path file) throws IOException {
        var uploads = UploadServiceGrpc.newStub(channel).withDeadlineAfter(2, TimeUnit.MINUTES);
        try (var rest = Files.newInputStream(file)) {
            rest.skipNBytes(begun.getDurableBytes());
            var start = WriteUploadHeader.newBuilder().setUid(begun.getUid()).setOffset(begun.getDurableBytes());
            var sender = new Sender(WriteUploadRequest.newBuilder().setHeader(start).build(), rest);
            uploads.writeUpload(sender);
            sender.done.join();
        } catch (CompletionException failed) {
            throw failed.getCause() instanceof StatusRuntimeException status ? status : failed;
        }
    }

    /** Sends as fast as the line takes it, never more: what waits is bounded. */
    static class Sender implements ClientResponseObserver<WriteUploadRequest, WriteUploadResponse> {
        final CompletableFuture<Void> done = new CompletableFuture<>();
        private final InputStream rest;
        private WriteUploadRequest next;

        Sender(WriteUploadRequest first, InputStream rest) {
            this.next = first;
            this.rest = rest;
        }

        @Override
        public void beforeStart(ClientCallStreamObserver<WriteUploadRequest> requests) {
            requests.setOnReadyHandler(() -> {
                while (next != null && requests.isReady()) {
                    requests.onNext(next);
                    try {
                        next = chunk(rest.readNBytes(CHUNK_BYTES));
                    } catch (IOException failed) {
                        requests.cancel("the file cannot be read", failed);
                        return;
                    }
                    if (next == null) {
                        requests.onCompleted();
                    }
                }
            });
        }

        private static WriteUploadRequest chunk(byte[] data) {
            if (data.length == 0) {
                return null;
            }
            var chunk = ContentChunk.newBuilder().setData(ByteString.copyFrom(data));
            return WriteUploadRequest.newBuilder().setChunk(chunk).build();
        }

        @Override
        public void onNext(WriteUploadResponse durable) {}

        @Override
        public void onError(Throwable failed) {
            done.completeExceptionally(failed);
        }

        @Override
        public void onCompleted() {
            done.complete(null);
        }
    }

    static void list(ArtifactServiceGrpc.ArtifactServiceBlockingStub artifacts) {
        var token = "";
        do {
            var page = artifacts.listArtifacts(
                    ListArtifactsRequest.newBuilder().setPageSize(1000).setPageToken(token).build());
            for (var artifact : page.getArtifactsList()) {
                System.out.printf("listed   %s, %d bytes%n", artifact.getKey(), artifact.getSize());
            }
            token = page.getNextPageToken();
        } while (!token.isEmpty());
    }

    /** Writes an artifact to a file, which gets its name only when its sha256 is right. */
    static void fetch(ManagedChannel channel, String key, Path path) throws Exception {
        var contents = ContentServiceGrpc.newBlockingStub(channel).withDeadlineAfter(2, TimeUnit.MINUTES);
        var messages = contents.readContent(ReadContentRequest.newBuilder().setArtifact(byKey(key)).build());
        var expected = messages.next().getHead().getArtifact().getHash();
        var digest = MessageDigest.getInstance("SHA-256");
        var part = Path.of(path + ".part");
        try (OutputStream file = Files.newOutputStream(part)) {
            while (messages.hasNext()) {
                var data = messages.next().getChunk().getData();
                digest.update(data.asReadOnlyByteBuffer());
                data.writeTo(file);
            }
        }
        if (!HexFormat.of().formatHex(digest.digest()).equals(expected)) {
            throw new IOException("what came is not what was saved");
        }
        Files.move(part, path, StandardCopyOption.REPLACE_EXISTING);
    }

    /** What programs branch on: never the message. */
    static String reason(StatusRuntimeException refused) {
        try {
            for (Any detail : StatusProto.fromThrowable(refused).getDetailsList()) {
                if (detail.is(ErrorInfo.class)) {
                    return detail.unpack(ErrorInfo.class).getReason();
                }
            }
        } catch (com.google.protobuf.InvalidProtocolBufferException unknown) {
            // Not a detail of ours.
        }
        return "";
    }

    /**
     * Whether an upload was cut. The server may still be storing what came before the cut: then the next byte is
     * another one than it said.
     */
    static boolean goesOn(StatusRuntimeException failed) {
        return failed.getStatus().getCode() == Status.Code.UNAVAILABLE || reason(failed).equals("OFFSET_MISMATCH");
    }

    static String sha256(Path file) throws Exception {
        var digest = MessageDigest.getInstance("SHA-256");
        try (var bytes = Files.newInputStream(file)) {
            for (var data = bytes.readNBytes(CHUNK_BYTES); data.length > 0; data = bytes.readNBytes(CHUNK_BYTES)) {
                digest.update(data);
            }
        }
        return HexFormat.of().formatHex(digest.digest());
    }
}
