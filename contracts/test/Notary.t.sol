// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Directory} from "../src/Directory.sol";
import {Notary} from "../src/Notary.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {INotary} from "../src/interfaces/INotary.sol";
import {Test} from "./helpers/Test.sol";
import {Trees} from "./helpers/Trees.sol";

contract NotaryTest is Test {
    uint64 private constant START = 1_700_000_000;
    uint64 private constant BLOCK = 1_000;
    bytes32 private constant REASON = bytes32(uint256(0xbad));

    address private immutable mine = account("mine");
    address private immutable retailer = account("retailer");
    address private immutable outsider = account("outsider");
    Directory private directory;
    Notary private notary;
    bytes32[] private batch;
    /// @dev Computed ahead: hashing calls the precompile, which `expectRevert` would take for the call it waits for.
    bytes32[][] private paths;
    bytes32 private root;

    function setUp() public {
        vm.warp(START);
        vm.roll(BLOCK);
        directory = new Directory(address(this));
        notary = new Notary(directory);
        directory.admit(mine, "Mine AG");
        directory.admit(retailer, "Retailer");
        batch = Trees.digests(0, 5);
        root = Trees.root(batch);
        for (uint256 i = 0; i < batch.length; ++i) {
            paths.push(Trees.path(batch, i));
        }
    }

    function test_Constructor_WantsADirectory() public {
        equal(address(notary.directory()), address(directory), "directory");
        vm.expectRevert(abi.encodeWithSelector(INotary.DirectoryHasNoCode.selector, outsider));
        new Notary(IDirectory(outsider));
    }

    // Anchor

    function test_Anchor_RecordsBlockAndTime() public {
        vm.expectEmit(address(notary));
        emit INotary.Anchored(mine, root, 5);
        _anchor(mine, root, 5);
        _anchorIs(mine, root, 5, BLOCK, START);
    }

    function test_Anchor_TheFirstCannotChange() public {
        _anchor(mine, root, 5);
        vm.warp(START + 1);
        vm.roll(BLOCK + 1);
        vm.expectRevert(abi.encodeWithSelector(INotary.AlreadyAnchored.selector, mine, root, 5));
        _anchor(mine, root, 5);
        _anchorIs(mine, root, 5, BLOCK, START);
    }

    function test_Anchor_OnlyByAnActiveMember() public {
        vm.expectRevert(abi.encodeWithSelector(INotary.NotActiveMember.selector, outsider));
        _anchor(outsider, root, 5);
        directory.suspend(mine);
        vm.expectRevert(abi.encodeWithSelector(INotary.NotActiveMember.selector, mine));
        _anchor(mine, root, 5);
        directory.readmit(mine);
        _anchor(mine, root, 5);
    }

    function test_Anchor_StaysWhenTheMemberIsSuspended() public {
        _anchor(mine, root, 5);
        directory.suspend(mine);
        _anchorIs(mine, root, 5, BLOCK, START);
        notary.verify(mine, root, 5, 2, batch[2], paths[2]);
    }

    function test_Anchor_RefusesAnEmptyBatch() public {
        vm.expectRevert(abi.encodeWithSelector(INotary.EmptyBatch.selector));
        _anchor(mine, root, 0);
    }

    function test_Anchor_AFrontRunnerNeitherSpoilsNorOwnsAnothersRoot() public {
        _anchor(retailer, root, 1);
        _anchor(retailer, root, 5);
        vm.roll(BLOCK + 1);
        _anchor(mine, root, 5);
        _anchorIs(mine, root, 5, BLOCK + 1, START);
        _anchorIs(mine, root, 1, 0, 0);
        (uint64 blockNumber,) = notary.verify(mine, root, 5, 0, batch[0], paths[0]);
        equal(blockNumber, BLOCK + 1, "the member's own anchor counts");
    }

    // Verify

    function test_Verify_EveryLeaf() public {
        _anchor(mine, root, 5);
        vm.roll(BLOCK + 9);
        for (uint64 i = 0; i < 5; ++i) {
            (uint64 blockNumber, uint64 time) = notary.verify(mine, root, 5, i, batch[i], paths[i]);
            equal(blockNumber, BLOCK, "block");
            equal(time, START, "time");
        }
    }

    function test_Verify_NamesWhatIsWrong() public {
        bytes32[] memory path = paths[2];
        vm.expectRevert(abi.encodeWithSelector(INotary.NotAnchored.selector, mine, root, 5));
        notary.verify(mine, root, 5, 2, batch[2], path);
        _anchor(mine, root, 5);
        vm.expectRevert(abi.encodeWithSelector(INotary.NotAnchored.selector, retailer, root, 5));
        notary.verify(retailer, root, 5, 2, batch[2], path);
        vm.expectRevert(abi.encodeWithSelector(INotary.NotAnchored.selector, mine, root, 6));
        notary.verify(mine, root, 6, 2, batch[2], path);
        vm.expectRevert(abi.encodeWithSelector(INotary.IndexOutOfRange.selector, 5, 5));
        notary.verify(mine, root, 5, 5, batch[2], path);
        vm.expectRevert(abi.encodeWithSelector(INotary.WrongPathLength.selector, 4, 5, 3));
        notary.verify(mine, root, 5, 4, batch[2], path);
        vm.expectRevert(abi.encodeWithSelector(INotary.RootMismatch.selector, _wrongRoot(path), root));
        notary.verify(mine, root, 5, 2, batch[3], path);
    }

    function test_Verify_ARootDoesNotPassForALeaf() public {
        bytes32[] memory none = new bytes32[](0);
        bytes32 asLeaf = sha256(bytes.concat(hex"00", root));
        _anchor(mine, root, 1);
        vm.expectRevert(abi.encodeWithSelector(INotary.RootMismatch.selector, asLeaf, root));
        notary.verify(mine, root, 1, 0, root, none);
    }

    // Revoke

    function test_Revoke_RecordsWhatTheIssuerSaid() public {
        _anchor(mine, root, 5);
        vm.warp(START + 50);
        vm.expectEmit(address(notary));
        emit INotary.Revoked(mine, batch[3], START + 10, REASON);
        _revoke(mine, 3, START + 10);
        _revocationIs(mine, batch[3], START + 10, START + 50, REASON);
        _revocationIs(retailer, batch[3], 0, 0, 0);
        _revocationIs(mine, batch[2], 0, 0, 0);
    }

    function test_Revoke_EffectiveZeroIsNow() public {
        _anchor(mine, root, 5);
        vm.warp(START + 50);
        _revoke(mine, 3, 0);
        _revocationIs(mine, batch[3], START + 50, START + 50, REASON);
    }

    function test_Revoke_OnceAndForGood() public {
        _anchor(mine, root, 5);
        _revoke(mine, 3, START + 10);
        vm.expectRevert(abi.encodeWithSelector(INotary.AlreadyRevoked.selector, mine, batch[3]));
        _revoke(mine, 3, START + 20);
        _revocationIs(mine, batch[3], START + 10, START, REASON);
    }

    function test_Revoke_OnlyWhatTheCallersOwnBatchIncludes() public {
        _anchor(mine, root, 5);
        vm.expectRevert(abi.encodeWithSelector(INotary.NotAnchored.selector, retailer, root, 5));
        _revoke(retailer, 3, 0);
        bytes32[] memory path = paths[3];
        bytes32 foreign = sha256("someone else's statement");
        vm.expectRevert(abi.encodeWithSelector(INotary.RootMismatch.selector, _rootOf(foreign, path), root));
        vm.prank(mine);
        notary.revoke(foreign, 0, REASON, root, 5, 3, path);
    }

    function test_Revoke_ByACopierLeavesTheIssuersStatementAlone() public {
        _anchor(mine, root, 5);
        _anchor(retailer, root, 5);
        _revoke(retailer, 3, 0);
        _revocationIs(mine, batch[3], 0, 0, 0);
    }

    function test_Revoke_OnlyByAnActiveMember() public {
        _anchor(mine, root, 5);
        directory.suspend(mine);
        vm.expectRevert(abi.encodeWithSelector(INotary.NotActiveMember.selector, mine));
        _revoke(mine, 3, 0);
        vm.expectRevert(abi.encodeWithSelector(INotary.NotActiveMember.selector, outsider));
        _revoke(outsider, 3, 0);
    }

    function test_Revoke_NamesTheStatementThatSaysWhy() public {
        _anchor(mine, root, 5);
        bytes32[] memory path = paths[3];
        vm.expectRevert(abi.encodeWithSelector(INotary.NoRevocationStatement.selector));
        vm.prank(mine);
        notary.revoke(batch[3], 0, 0, root, 5, 3, path);
    }

    // Fuzz

    function testFuzz_Anchor_OnePerMemberRootAndSize(bytes32 other, uint64 size, uint64 number, uint64 time) public {
        size = uint64(bound(size, 1, type(uint64).max));
        number = uint64(bound(number, 1, type(uint64).max));
        time = uint64(bound(time, START, type(uint64).max));
        vm.roll(number);
        vm.warp(time);
        _anchor(mine, other, size);
        _anchorIs(mine, other, size, number, time);
        _anchorIs(retailer, other, size, 0, 0);
        _anchorIs(mine, other, size ^ 1, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(INotary.AlreadyAnchored.selector, mine, other, size));
        _anchor(mine, other, size);
    }

    function testFuzz_Anchor_NeverByANonMember(address who, bytes32 other, uint64 size) public {
        vm.assume(who != mine && who != retailer);
        vm.expectRevert(abi.encodeWithSelector(INotary.NotActiveMember.selector, who));
        _anchor(who, other, size);
    }

    function testFuzz_Verify_NeverAnotherDigest(uint64 index, bytes32 digest) public {
        index = uint64(bound(index, 0, 4));
        vm.assume(digest != batch[index]);
        _anchor(mine, root, 5);
        try notary.verify(mine, root, 5, index, digest, paths[index]) {
            isTrue(false, "another digest verified");
        } catch (bytes memory reason) {
            equal(bytes32(bytes4(reason)), bytes32(INotary.RootMismatch.selector), "reason");
        }
    }

    // Helpers

    function _anchor(address who, bytes32 of_, uint64 size) private {
        vm.prank(who);
        notary.anchor(of_, size);
    }

    function _revoke(address who, uint64 index, uint64 effective) private {
        bytes32[] memory path = paths[index];
        vm.prank(who);
        notary.revoke(batch[index], effective, REASON, root, 5, index, path);
    }

    function _anchorIs(address who, bytes32 of_, uint64 size, uint64 number, uint64 time) private view {
        (uint64 blockNumber, uint64 anchored) = notary.anchorOf(who, of_, size);
        equal(blockNumber, number, "block");
        equal(anchored, time, "time");
    }

    function _revocationIs(address who, bytes32 digest, uint64 effective, uint64 time, bytes32 reason) private view {
        (uint64 from, uint64 recorded, bytes32 revocation) = notary.revocationOf(who, digest);
        equal(from, effective, "effective");
        equal(recorded, time, "time");
        equal(revocation, reason, "revocation");
    }

    /// @dev Where `batch[3]` at index 2 leads.
    function _wrongRoot(bytes32[] memory path) private view returns (bytes32) {
        bytes32 leaf = sha256(bytes.concat(hex"00", batch[3]));
        bytes32 pair = sha256(bytes.concat(hex"01", leaf, path[0]));
        return sha256(bytes.concat(hex"01", sha256(bytes.concat(hex"01", path[1], pair)), path[2]));
    }

    /// @dev Where `digest` at index 3 of 5 leads.
    function _rootOf(bytes32 digest, bytes32[] memory path) private pure returns (bytes32) {
        bytes32 leaf = sha256(bytes.concat(hex"00", digest));
        bytes32 pair = sha256(bytes.concat(hex"01", path[0], leaf));
        return sha256(bytes.concat(hex"01", sha256(bytes.concat(hex"01", path[1], pair)), path[2]));
    }
}
