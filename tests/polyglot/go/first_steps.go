// The main job from Go: save, upload through cuts, list, fetch, branch on a reason.
//
//	first_steps ADDRESS FILE SERVICE_CONFIG
//
// The stubs come from proto/ with protoc-gen-go and protoc-gen-go-grpc; their import
// path is the go_package of the protos. gRPC before 1.40 repeats calls only where
// GRPC_GO_RETRY=on is set.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	pb "artifactd.dev/go/artifactd/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	chunkBytes = 1 << 20
	triesMax   = 20
)

func main() {
	if err := firstSteps(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func firstSteps(address, path, configPath string) error {
	// Which calls wait for a server that is away, and which are repeated by the library.
	config, err := os.ReadFile(configPath)
	if err != nil {
		return err
	}
	conn, err := grpc.Dial(address, grpc.WithInsecure(), grpc.WithDefaultServiceConfig(string(config)))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	artifacts := pb.NewArtifactServiceClient(conn)

	saved, err := artifacts.SaveSmallArtifact(ctx, &pb.SaveSmallArtifactRequest{
		// With a request id the call can be repeated: it has the effect of one.
		Header:  &pb.SaveHeader{Key: proto.String("tour/small.csv"), RequestId: proto.String("first-steps")},
		Content: []byte("species,body_mass_g\nAdelie,3750\n"),
	})
	if err != nil {
		return err
	}
	report("saved", saved)

	uploads := pb.NewUploadServiceClient(conn)
	saved, err = upload(ctx, uploads, path, "tour/large.bin")
	for tries := 1; goesOn(err) && tries < triesMax; tries++ {
		time.Sleep(200 * time.Millisecond)
		saved, err = upload(ctx, uploads, path, "tour/large.bin")
	}
	if err != nil {
		return err
	}
	report("uploaded", saved)

	if err := list(ctx, artifacts); err != nil {
		return err
	}
	if err := fetch(ctx, pb.NewContentServiceClient(conn), "tour/large.bin", path+".copy"); err != nil {
		return err
	}
	fmt.Println("fetched  tour/large.bin, sha256 as recorded")

	_, err = artifacts.GetArtifact(ctx, &pb.GetArtifactRequest{Artifact: byKey("tour/missing.csv")})
	if reason(err) != "ARTIFACT_NOT_FOUND" {
		return fmt.Errorf("a missing artifact: %v", err)
	}
	fmt.Println("refused ", reason(err))
	return nil
}

func report(what string, saved *pb.SaveArtifactResponse) {
	outcome := strings.TrimPrefix(saved.Outcome.String(), "SAVE_OUTCOME_")
	fmt.Printf("%-8s %s version %s (%s)\n", what, saved.Artifact.GetKey(), saved.Artifact.Version, outcome)
}

func byKey(key string) *pb.ArtifactRef {
	return &pb.ArtifactRef{Ref: &pb.ArtifactRef_Key{Key: &pb.KeyRef{Key: key}}}
}

// upload saves a file; called again after a cut, it sends only what is not durable yet.
func upload(ctx context.Context, uploads pb.UploadServiceClient, path, key string) (*pb.SaveArtifactResponse, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	// The same request id finds the upload again, also from another run of this program.
	id := fmt.Sprintf("%s-%d-%d", key, info.Size(), info.ModTime().UnixNano())
	header := &pb.SaveHeader{Key: &key, Size: proto.Int64(info.Size()), RequestId: &id}
	begun, err := uploads.CreateUpload(ctx, &pb.CreateUploadRequest{Save: header})
	if err != nil {
		return nil, err
	}
	if begun.DurableBytes < info.Size() {
		if err := sendRest(ctx, uploads, begun, file); err != nil {
			return nil, err
		}
	}
	digest, err := sha256Of(file)
	if err != nil {
		return nil, err
	}
	for {
		answer, err := uploads.CompleteUpload(ctx, &pb.CompleteUploadRequest{Uid: begun.Uid, Sha256: &digest})
		if err != nil || answer.Saved != nil {
			return answer.GetSaved(), err
		}
	}
}

func sendRest(ctx context.Context, uploads pb.UploadServiceClient, begun *pb.Upload, file *os.File) error {
	stream, err := uploads.WriteUpload(ctx)
	if err != nil {
		return err
	}
	start := &pb.WriteUploadHeader{Uid: begun.Uid, Offset: begun.DurableBytes}
	err = stream.Send(&pb.WriteUploadRequest{Message: &pb.WriteUploadRequest_Header{Header: start}})
	rest := io.NewSectionReader(file, begun.DurableBytes, begun.Save.GetSize()-begun.DurableBytes)
	buffer := make([]byte, chunkBytes)
	for err == nil {
		var n int
		if n, err = io.ReadFull(rest, buffer); n > 0 {
			chunk := &pb.WriteUploadRequest_Chunk{Chunk: &pb.ContentChunk{Data: buffer[:n]}}
			if sent := stream.Send(&pb.WriteUploadRequest{Message: chunk}); sent != nil {
				err = sent
			}
		}
	}
	// The end of the file, or of the stream: then the answers say why.
	if err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		if _, err := stream.Recv(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func list(ctx context.Context, artifacts pb.ArtifactServiceClient) error {
	request := &pb.ListArtifactsRequest{PageSize: 1000}
	for {
		page, err := artifacts.ListArtifacts(ctx, request)
		if err != nil {
			return err
		}
		for _, artifact := range page.Artifacts {
			fmt.Printf("listed   %s, %d bytes\n", artifact.GetKey(), artifact.Size)
		}
		if page.NextPageToken == "" {
			return nil
		}
		request.PageToken = page.NextPageToken
	}
}

// fetch writes an artifact to a file, which gets its name only when its sha256 is right.
func fetch(ctx context.Context, contents pb.ContentServiceClient, key, path string) error {
	stream, err := contents.ReadContent(ctx, &pb.ReadContentRequest{Artifact: byKey(key)})
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	file, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	defer file.Close()
	digest := sha256.New()
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		data := message.GetChunk().GetData()
		digest.Write(data)
		if _, err := file.Write(data); err != nil {
			return err
		}
	}
	if hex.EncodeToString(digest.Sum(nil)) != first.GetHead().GetArtifact().GetHash() {
		return errors.New("what came is not what was saved")
	}
	return os.Rename(path+".part", path)
}

// reason is what programs branch on: never the message.
func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Domain == "artifactd" {
			return info.Reason
		}
	}
	return ""
}

// goesOn says whether an upload was cut. The server may still be storing what came
// before the cut: then the next byte is another one than it said.
func goesOn(err error) bool {
	return status.Code(err) == codes.Unavailable || reason(err) == "OFFSET_MISMATCH"
}

func sha256Of(file *os.File) (string, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	digest := sha256.New()
	if _, err := io.Copy(digest, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}
