// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {INotary} from "./interfaces/INotary.sol";

/// @title RFC 9162 Merkle inclusion over SHA-256
/// @notice Leaves and nodes are hashed with different prefixes, so a node can't pass for a leaf.
library Rfc9162 {
    /// @notice The hash of a leaf: SHA-256(0x00 || digest), RFC 9162, section 2.1.1.
    /// @param digest The leaf's data, a statement's digest
    /// @return The leaf hash
    function leafHash(bytes32 digest) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x00), digest));
    }

    /// @notice The hash of an inner node: SHA-256(0x01 || left || right), RFC 9162, section 2.1.1.
    /// @param left The hash of the left child
    /// @param right The hash of the right child
    /// @return The node hash
    function nodeHash(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(bytes1(0x01), left, right));
    }

    /// @notice Verifies an audit path, RFC 9162, section 2.1.3.2; reverts with the reason when it does not hold.
    /// @param leaf The leaf hash
    /// @param index The leaf's position, from 0
    /// @param size How many leaves the tree has
    /// @param path The audit path, leaf side first
    /// @param root The tree's root
    function verifyInclusion(bytes32 leaf, uint64 index, uint64 size, bytes32[] calldata path, bytes32 root)
        internal
        pure
    {
        if (index >= size) revert INotary.IndexOutOfRange(index, size);
        uint64 fn = index;
        uint64 sn = size - 1;
        bytes32 hash = leaf;
        for (uint256 i = 0; i < path.length; ++i) {
            if (sn == 0) revert INotary.WrongPathLength(index, size, path.length);
            if (fn & 1 == 1 || fn == sn) {
                hash = nodeHash(path[i], hash);
                // The last node of a level without a right sibling moves up unchanged.
                while (fn & 1 == 0 && fn != 0) {
                    fn >>= 1;
                    sn >>= 1;
                }
            } else {
                hash = nodeHash(hash, path[i]);
            }
            fn >>= 1;
            sn >>= 1;
        }
        if (sn != 0) revert INotary.WrongPathLength(index, size, path.length);
        if (hash != root) revert INotary.RootMismatch(hash, root);
    }
}
