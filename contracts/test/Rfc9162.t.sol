// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RfcHarness} from "./helpers/RfcHarness.sol";
import {Test} from "./helpers/Test.sol";
import {Trees} from "./helpers/Trees.sol";

/// @notice The library against its naive twin.
contract Rfc9162Test is Test {
    RfcHarness private harness;

    function setUp() public {
        harness = new RfcHarness();
    }

    function testFuzz_LeafHash_IsThePrefixedDigest(bytes32 digest) public view {
        equal(harness.leafHash(digest), sha256(bytes.concat(hex"00", digest)), "leaf hash");
    }

    function testFuzz_NodeHash_IsThePrefixedPair(bytes32 left, bytes32 right) public view {
        equal(harness.nodeHash(left, right), sha256(bytes.concat(hex"01", left, right)), "node hash");
    }

    function testFuzz_VerifyInclusion_HoldsForEveryTree(uint256 seed, uint256 size, uint256 index) public view {
        size = bound(size, 1, 70);
        index = bound(index, 0, size - 1);
        bytes32[] memory digests = Trees.digests(seed, size);
        bytes32[] memory path = Trees.path(digests, index);
        harness.verify(digests[index], uint64(index), uint64(size), path, Trees.root(digests));
    }

    function testFuzz_VerifyInclusion_FailsForAnyChangedBit(uint256 seed, uint256 size, uint256 index, uint256 bit)
        public
        view
    {
        size = bound(size, 2, 70);
        index = bound(index, 0, size - 1);
        bytes32[] memory digests = Trees.digests(seed, size);
        bytes32[] memory path = Trees.path(digests, index);
        bytes32 root = Trees.root(digests);
        bit = bound(bit, 0, path.length * 256 - 1);
        path[bit / 256] ^= bytes32(1 << (bit % 256));
        isTrue(!_verifies(digests[index], index, size, path, root), "a changed path verified");
    }

    function testFuzz_VerifyInclusion_FailsForEveryOtherLeaf(uint256 seed, uint256 size, uint256 index, uint256 other)
        public
        view
    {
        size = bound(size, 2, 70);
        index = bound(index, 0, size - 1);
        other = bound(other, 0, size - 1);
        vm.assume(other != index);
        bytes32[] memory digests = Trees.digests(seed, size);
        bytes32[] memory path = Trees.path(digests, index);
        bytes32 root = Trees.root(digests);
        isTrue(!_verifies(digests[other], index, size, path, root), "another leaf's digest verified");
        isTrue(!_verifies(digests[index], other, size, path, root), "another leaf's position verified");
    }

    function testFuzz_VerifyInclusion_NeverPanics(
        bytes32 digest,
        uint64 index,
        uint64 size,
        bytes32[] calldata path,
        bytes32 root
    ) public view {
        isTrue(!_verifies(digest, index, size, path, root), "noise verified");
    }

    /// @dev Any failure but one of the three named errors is a failure of the test.
    function _verifies(bytes32 digest, uint256 index, uint256 size, bytes32[] memory path, bytes32 root)
        private
        view
        returns (bool)
    {
        try harness.verify(digest, uint64(index), uint64(size), path, root) {
            return true;
        } catch (bytes memory reason) {
            bytes4 selector = bytes4(reason);
            isTrue(
                selector == bytes4(keccak256("IndexOutOfRange(uint64,uint64)"))
                    || selector == bytes4(keccak256("WrongPathLength(uint64,uint64,uint256)"))
                    || selector == bytes4(keccak256("RootMismatch(bytes32,bytes32)")),
                "a panic"
            );
            return false;
        }
    }
}
